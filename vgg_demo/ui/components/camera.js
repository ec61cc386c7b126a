// A camera that takes many photos in a row. `camera.py` says what goes in and comes out.

const INTERVAL_MS = 250
const SENT_TOGETHER = 3 // photos; who closes the camera in mid row loses fewer
const RESEND_MS = 5000
const LONGER_SIDE = 640 // pixels; networks look at less
const QUALITY = 0.9

const GONE = "The camera was switched off, or taken away."
const PROBLEMS = {
  NotAllowedError: "The browser does not let this page use the camera. Click the camera or the " +
    "lock beside the page's address, allow it, and try again.",
  OverconstrainedError: GONE,
  NotFoundError: "The browser finds no camera on this machine.",
  NotReadableError: "The camera cannot be opened. Perhaps another program uses it.",
}
const INSECURE = "The page's address must begin with https:// for a browser to use the camera here."

class Camera {
  constructor(root, data, send) {
    this.find = name => root.querySelector(name)
    this.video = this.find("video")
    this.turn = 0 // of opening: a slow one may be overtaken
    this.row = 0
    this.taken = 0 // photos of this row
    this.left = 0 // photos still to be taken in it
    this.pending = [] // photos that the server has not confirmed
    this.lastId = 0
    this.find(".many").onclick = () => this.begin(this.data.row)
    this.find(".one").onclick = () => this.begin(1)
    this.find(".stop").onclick = () => this.end()
    this.find(".other").onclick = () => this.openNext()
    this.find(".again").onclick = () => {
      this.find(".view").focus() // the button that has it is about to go
      this.open()
    }
    this.video.onloadeddata = this.video.onresize = () => this.draw()
    this.choice = { facingMode: "environment" } // of a phone's cameras, the one that sees things
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
    this.row = Math.max(this.row, data.row_received)
    this.pending = this.pending.filter(photo => photo.id > data.received)
    if (!this.pending.length) clearTimeout(this.resending)
    this.draw()
  }

  async open(choice = this.choice) {
    const turn = ++this.turn
    const isOutdated = () => turn !== this.turn
    this.choice = choice
    this.stop()
    this.problem = ""
    this.draw()
    if (!navigator.mediaDevices) return this.fail(INSECURE)
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        video: { ...choice, width: { ideal: 1280 } },
      })
      if (isOutdated()) return stopTracks(stream)
      this.watch(stream)
    } catch ({ name }) {
      if (isOutdated()) return
      this.problem = PROBLEMS[name] ?? `The camera cannot be opened (${name}).`
    }
    // Also where one could not be opened: another may be.
    const devices = await navigator.mediaDevices.enumerateDevices()
    if (isOutdated()) return
    this.cameras = devices.filter(device => device.kind === "videoinput")
    this.draw()
  }

  watch(stream) {
    const [track] = stream.getVideoTracks()
    this.track = track
    this.video.srcObject = stream
    // As in a mirror, where the camera looks at whoever looks at the screen.
    this.video.classList.toggle("mirrored", track.getSettings().facingMode !== "environment")
    track.onended = () => this.fail(GONE)
    track.onmute = track.onunmute = () => this.draw()
  }

  openNext() {
    const deviceId = this.track?.getSettings().deviceId ?? this.choice.deviceId?.exact
    const ids = this.cameras.map(camera => camera.deviceId)
    this.open({ deviceId: { exact: ids[(ids.indexOf(deviceId) + 1) % ids.length] } })
  }

  begin(count) {
    this.row += 1
    this.left = count
    this.taken = 0
    this.shoot()
    if (this.left) {
      this.timer = setInterval(() => this.shoot(), INTERVAL_MS)
      this.find(".stop").focus() // the button that had it is disabled
    }
  }

  shoot() {
    if (!this.isReady) return this.end()
    const { videoWidth: width, videoHeight: height } = this.video
    const scale = Math.min(1, LONGER_SIDE / Math.max(width, height))
    const canvas = document.createElement("canvas")
    canvas.width = Math.round(width * scale)
    canvas.height = Math.round(height * scale)
    canvas.getContext("2d").drawImage(this.video, 0, 0, canvas.width, canvas.height)
    const jpeg = canvas.toDataURL("image/jpeg", QUALITY).split(",")[1]
    this.pending.push({ id: ++this.lastId, row: this.row, jpeg })
    this.taken += 1
    this.left -= 1
    if (this.left === 0) return this.end()
    if (this.taken % SENT_TOGETHER === 0) this.deliver()
    this.draw()
  }

  end() {
    clearInterval(this.timer)
    const hadFocus = this.find(".stop").matches(":focus")
    this.left = 0
    this.deliver()
    this.draw()
    if (hadFocus) this.find(".many").focus()
  }

  // All that is not confirmed: while it is busy, Streamlit keeps only the last message.
  deliver() {
    clearTimeout(this.resending)
    if (!this.pending.length) return
    this.send("photos", this.pending)
    this.resending = setTimeout(() => this.deliver(), RESEND_MS)
  }

  get isReady() {
    const isLive = this.track?.readyState === "live" && !this.track.muted
    return !this.problem && isLive && this.video.readyState >= 2 && this.video.videoWidth > 0
  }

  draw() {
    const { isReady, find } = this
    const inRow = this.left > 0
    find(".words").textContent = this.problem || (isReady ? "" : "Waiting for the camera …")
    find(".view").classList.toggle("taking", inRow)
    find(".many").textContent = `Take ${this.data.row}`
    // They stay in their places: where “Stop” was, nothing else is when a row has ended.
    find(".many").disabled = find(".one").disabled = inRow || !isReady
    find(".stop").hidden = !inRow
    find(".count").textContent = inRow ? `${this.taken} of ${this.taken + this.left}` : ""
    find(".again").hidden = !this.problem
    find(".other").hidden = inRow || !(this.cameras?.length > 1)
    find(".told").textContent = inRow || !this.taken ? "" : this.toldWords()
  }

  toldWords() {
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
    this.turn += 1 // what is being opened is not wanted any more
    this.stop()
    this.taken = 0
  }

  leave() {
    this.close()
    clearTimeout(this.resending)
  }
}

function stopTracks(stream) {
  stream.getTracks().forEach(track => track.stop())
}

const shown = new WeakMap()

export default function ({ data, parentElement, setTriggerValue }) {
  const camera = shown.get(parentElement)?.camera
  if (camera) camera.update(data, setTriggerValue)
  const run = { camera: camera ?? new Camera(parentElement, data, setTriggerValue) }
  shown.set(parentElement, run)
  return () => {
    // What an outdated run leaves to be done is not to close what a later one shows.
    if (shown.get(parentElement) !== run) return
    run.camera.leave()
    shown.delete(parentElement)
  }
}
