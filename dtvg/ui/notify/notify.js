// Tells what happened while a page is open: a mark in the tab's title until the tab is looked at,
// and the browser's own notification where the reader allowed it. Nothing is fetched.

const shown = new Set()
let waiting = 0
let plain = ""

function mark() {
  if (!document.hidden) return
  if (!waiting) plain = document.title
  waiting += 1
  document.title = `(${waiting}) ${plain.replace(/^\(\d+\) /, "")}`
}

function unmark() {
  if (document.hidden || !waiting) return
  waiting = 0
  document.title = document.title.replace(/^\(\d+\) /, "")
}

export default function (component) {
  const { data, parentElement } = component
  if (!window.dtvgNotify) {
    window.dtvgNotify = true
    document.addEventListener("visibilitychange", unmark)
  }
  for (const one of data.alerts || []) {
    if (shown.has(one.id)) continue
    shown.add(one.id)
    mark()
    if ("Notification" in window && Notification.permission === "granted") {
      new Notification(one.title, { body: one.text, tag: one.id })
    }
  }
  const place = parentElement.querySelector("button")
  const can = "Notification" in window && window.isSecureContext
  place.hidden = !can || Notification.permission !== "default"
  place.onclick = () => Notification.requestPermission().then(() => { place.hidden = true })
}
