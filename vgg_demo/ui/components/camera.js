// A camera that takes bursts of photos. See `camera.py` for the data it receives and sends.

const INTERVAL_MS = 250
const PHOTOS_PER_MESSAGE = 3 // few, so that few photos are lost if the camera closes during a burst
const RESEND_MS = 5000
const MAX_SIDE = 640 // pixels; models have a smaller input
const QUALITY = 0.9

const DISCONNECTED = "The camera was turned off or disconnected."
const PROBLEMS = {
  NotAllowedError: "The browser blocks the camera on this page. Click the camera or lock icon " +
    "next to the page's address, allow the camera, and try again.",
  OverconstrainedError: DISCONNECTED,
  NotFoundError: "No camera was found on this device.",
  NotReadableError: "The camera could not be opened. Another program may be using it.",
}
const INSECURE = "Browsers allow the camera only if the page's address starts with https://."

class Camera {
  constructor(root, data, send) {
    this.find = name => root.querySelector(name)
    this.video = this.find("video")
    this.openings = 0 // calls of open(); a later call supersedes one still in progress
    this.burst = 0
    this.taken = 0 // photos taken in this burst
    this.left = 0 // photos still to be taken in this burst
    this.pending = [] // photos that the server has not confirmed
    this.lastId = 0
    this.find(".take-burst").onclick = () => this.begin(this.data.burst_size)
    this.find(".take-one").onclick = () => this.begin(1)
    this.find(".stop").onclick = () => this.end()
    this.find(".switch").onclick = () => this.openNext()
    this.find(".retry").onclick = () => {
      this.find(".preview").focus() // the focused button is about to disappear
      this.open()
    }
    this.video.onloadeddata = this.video.onresize = () => this.draw()
    this.choice = { facingMode: "environment" } // the back camera of a phone
    this.update(data, send)
  }

  update(data, send) {
    const wasOpen = this.data?.is_open ?? false
    this.data = data
    this.send = send
    this.find(".camera").hidden = !data.is_open
    if (data.is_open && !wasOpen) this.open()
    if (!data.is_open && wasOpen) this.close()
    this.lastId = Math.max(this.lastId, data.received)
    this.burst = Math.max(this.burst, data.burst_received)
    this.pending = this.pending.filter(photo => photo.id > data.received)
    if (!this.pending.length) clearTimeout(this.resending)
    this.draw()
  }

  async open(choice = this.choice) {
    const opening = ++this.openings
    const isSuperseded = () => opening !== this.openings
    this.choice = choice
    this.stop()
    this.problem = ""
    this.draw()
    if (!navigator.mediaDevices) return this.fail(INSECURE)
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        video: { ...choice, width: { ideal: 1280 } },
      })
      if (isSuperseded()) return stopTracks(stream)
      this.play(stream)
    } catch ({ name }) {
      if (isSuperseded()) return
      this.problem = PROBLEMS[name] ?? `The camera could not be opened (${name}).`
    }
    // Also list the cameras after a failure, because another one may work.
    const devices = await navigator.mediaDevices.enumerateDevices()
    if (isSuperseded()) return
    this.cameras = devices.filter(device => device.kind === "videoinput")
    this.draw()
  }

  play(stream) {
    const [track] = stream.getVideoTracks()
    this.track = track
    this.video.srcObject = stream
    // Cameras that face the user are mirrored.
    this.video.classList.toggle("mirrored", track.getSettings().facingMode !== "environment")
    track.onended = () => this.fail(DISCONNECTED)
    track.onmute = track.onunmute = () => this.draw()
  }

  openNext() {
    const deviceId = this.track?.getSettings().deviceId ?? this.choice.deviceId?.exact
    const ids = this.cameras.map(camera => camera.deviceId)
    this.open({ deviceId: { exact: ids[(ids.indexOf(deviceId) + 1) % ids.length] } })
  }

  begin(count) {
    this.burst += 1
    this.left = count
    this.taken = 0
    this.capture()
    if (this.left) {
      this.timer = setInterval(() => this.capture(), INTERVAL_MS)
      this.find(".stop").focus() // the button that was focused is now disabled
    }
  }

  capture() {
    if (!this.isReady) return this.end()
    const { videoWidth: width, videoHeight: height } = this.video
    const scale = Math.min(1, MAX_SIDE / Math.max(width, height))
    const canvas = document.createElement("canvas")
    canvas.width = Math.round(width * scale)
    canvas.height = Math.round(height * scale)
    canvas.getContext("2d").drawImage(this.video, 0, 0, canvas.width, canvas.height)
    const jpeg = canvas.toDataURL("image/jpeg", QUALITY).split(",")[1]
    this.pending.push({ id: ++this.lastId, burst: this.burst, jpeg })
    this.taken += 1
    this.left -= 1
    if (this.left === 0) return this.end()
    if (this.taken % PHOTOS_PER_MESSAGE === 0) this.sendPending()
    this.draw()
  }

  end() {
    clearInterval(this.timer)
    const hadFocus = this.find(".stop").matches(":focus")
    this.left = 0
    this.sendPending()
    this.draw()
    if (hadFocus) this.find(".take-burst").focus()
  }

  // Sends all unconfirmed photos, because Streamlit keeps only the last message while it is busy.
  sendPending() {
    clearTimeout(this.resending)
    if (!this.pending.length) return
    this.send("photos", this.pending)
    this.resending = setTimeout(() => this.sendPending(), RESEND_MS)
  }

  get isReady() {
    const isLive = this.track?.readyState === "live" && !this.track.muted
    return !this.problem && isLive && this.video.readyState >= 2 && this.video.videoWidth > 0
  }

  draw() {
    const { isReady, find } = this
    const isCapturing = this.left > 0
    find(".message").textContent = this.problem || (isReady ? "" : "Starting the camera …")
    find(".preview").classList.toggle("capturing", isCapturing)
    find(".take-burst").textContent = `Take ${this.data.burst_size}`
    // Disabled, not hidden, so that no other button moves under the pointer when a burst ends.
    find(".take-burst").disabled = find(".take-one").disabled = isCapturing || !isReady
    find(".stop").hidden = !isCapturing
    find(".count").textContent = isCapturing ? `${this.taken} of ${this.taken + this.left}` : ""
    find(".retry").hidden = !this.problem
    find(".switch").hidden = isCapturing || !(this.cameras?.length > 1)
    find(".status").textContent = isCapturing || !this.taken ? "" : this.describeBurst()
  }

  describeBurst() {
    if (this.pending.length) return "Sending …"
    return this.taken === 1 ? "1 photo taken" : `${this.taken} photos taken`
  }

  fail(problem) {
    this.problem = problem
    if (this.left) this.end()
    this.draw()
  }

  stop() {
    if (this.left) this.end()
    if (this.video.srcObject) stopTracks(this.video.srcObject)
    this.video.srcObject = this.track = null
  }

  close() {
    this.openings += 1 // supersedes an open() in progress
    this.stop()
    this.taken = 0
  }

  destroy() {
    this.close()
    clearTimeout(this.resending)
  }
}

function stopTracks(stream) {
  stream.getTracks().forEach(track => track.stop())
}

const instances = new WeakMap()

export default function ({ data, parentElement, setTriggerValue }) {
  const camera = instances.get(parentElement)?.camera
  if (camera) camera.update(data, setTriggerValue)
  const instance = { camera: camera ?? new Camera(parentElement, data, setTriggerValue) }
  instances.set(parentElement, instance)
  return () => {
    // The cleanup of an outdated instance must not close the camera of a later one.
    if (instances.get(parentElement) !== instance) return
    instance.camera.destroy()
    instances.delete(parentElement)
  }
}
