// A camera that takes many photos in a row. `camera.py` says what goes in and out.

const INTERVAL_MS = 250
const LONGER_SIDE = 640 // pixels; networks look at less
const QUALITY = 0.9

const PROBLEMS = {
  NotAllowedError: "The browser does not let this page use the camera. Allow it, mostly with the " +
    "sign beside the address, and try again.",
  NotFoundError: "This machine has no camera that the browser can find.",
  NotReadableError: "The camera cannot be opened. Perhaps another program uses it.",
}

class Camera {
  constructor(root) {
    this.find = name => root.querySelector(name)
    this.video = this.find("video")
    this.facing = "environment" // of a phone's cameras, the one that sees things
    this.pending = [] // photos that the server has not confirmed
    this.lastId = 0
    this.left = 0 // photos still to be taken in this row
    this.find(".one").onclick = () => this.take(1)
    this.find(".many").onclick = () => (this.left ? this.end() : this.take(this.data.row))
    this.find(".other").onclick = () => {
      this.facing = this.facing === "user" ? "environment" : "user"
      this.open()
    }
    this.find(".again").onclick = () => this.open()
    this.video.onresize = () => this.draw() // its first picture has come
    this.open()
  }

  update(data, send) {
    this.data = data
    this.send = send
    this.lastId = Math.max(this.lastId, data.received)
    this.pending = this.pending.filter(photo => photo.id > data.received)
    this.draw()
  }

  async open() {
    this.stop()
    this.problem = ""
    this.draw()
    try {
      // Browsers offer cameras to pages that come by HTTPS or from this machine only.
      if (!navigator.mediaDevices) {
        this.problem = "Browsers give the camera only to pages that come by HTTPS, or from the " +
          "machine that they run on."
        return
      }
      const video = { facingMode: this.facing, width: { ideal: 1280 } }
      const stream = await navigator.mediaDevices.getUserMedia({ video })
      if (this.isClosed) return stopTracks(stream)
      this.video.srcObject = stream
      const { facingMode } = stream.getVideoTracks()[0].getSettings()
      this.video.classList.toggle("mirrored", facingMode !== "environment")
      const devices = await navigator.mediaDevices.enumerateDevices()
      this.cameras = devices.filter(device => device.kind === "videoinput").length
    } catch (error) {
      this.problem = PROBLEMS[error.name] ?? `The camera cannot be opened (${error.name}).`
    } finally {
      this.draw()
    }
  }

  take(count) {
    this.left = count
    this.taken = 0
    clearInterval(this.timer)
    this.shoot()
    if (this.left) this.timer = setInterval(() => this.shoot(), INTERVAL_MS)
  }

  shoot() {
    const { videoWidth: width, videoHeight: height } = this.video
    const scale = Math.min(1, LONGER_SIDE / Math.max(width, height))
    const canvas = document.createElement("canvas")
    canvas.width = Math.round(width * scale)
    canvas.height = Math.round(height * scale)
    canvas.getContext("2d").drawImage(this.video, 0, 0, canvas.width, canvas.height)
    const jpeg = canvas.toDataURL("image/jpeg", QUALITY).split(",")[1]
    this.pending.push({ id: ++this.lastId, jpeg })
    this.taken += 1
    this.left -= 1
    if (this.left > 0) this.draw()
    else this.end()
  }

  end() {
    clearInterval(this.timer)
    this.left = 0
    // All that is not confirmed: Streamlit passes on only the last of what comes while it is busy.
    this.send("photos", this.pending)
    this.find(".told").textContent = this.taken === 1 ? "1 photo taken" : `${this.taken} photos taken`
    this.draw()
  }

  draw() {
    const isReady = !this.problem && this.video.videoWidth > 0
    this.find(".words").textContent = this.problem || (isReady ? "" : "Waiting for the camera …")
    this.find(".again").hidden = !this.problem
    this.find(".other").hidden = !(this.cameras > 1)
    this.find(".view").classList.toggle("taking", this.left > 0)
    this.find(".one").disabled = !isReady || this.left > 0
    const many = this.find(".many")
    many.disabled = !isReady
    many.textContent = this.left > 0 ? `Stop (${this.taken})` : `Take ${this.data?.row}`
  }

  stop() {
    clearInterval(this.timer)
    this.left = 0
    if (this.video.srcObject) stopTracks(this.video.srcObject)
    this.video.srcObject = null
  }

  close() {
    this.isClosed = true
    this.stop()
  }
}

function stopTracks(stream) {
  stream.getTracks().forEach(track => track.stop())
}

const cameras = new WeakMap()

export default function ({ data, parentElement, setTriggerValue }) {
  if (!cameras.has(parentElement)) cameras.set(parentElement, new Camera(parentElement))
  const camera = cameras.get(parentElement)
  camera.update(data, setTriggerValue)
  return () => {
    camera.close()
    cameras.delete(parentElement)
  }
}
