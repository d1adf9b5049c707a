// Keys that work on every page: "/" goes to the filter or to the first choice that is searched by
// typing, Escape leaves these, "v" goes to the comparison of what is ticked, else to the compare
// page; and Tab reaches what scrolls. Nothing is fetched.

const TYPING = "input, textarea, select, [contenteditable=true], [role=listbox], [role=dialog]"

function seen(element) {
  return element && element.offsetParent !== null && !element.disabled
}

const SEARCHED = ['input[aria-label="Filter"]', "[role=combobox]"]

function search() {
  const main = document.querySelector("[data-testid=stMain]")
  if (!main) return false
  const places = SEARCHED.flatMap((kind) => [...main.querySelectorAll(kind)])
  const place = places.find(seen)
  if (!place) return false
  place.focus()
  place.scrollIntoView({ block: "nearest" })
  if (place.select) place.select()
  return true
}

// After Escape the keys work again: the box is left once it has closed its own list.
function leave(event) {
  const at = event.composedPath()[0]
  if (event.key !== "Escape" || !at || !at.matches || !at.matches(SEARCHED.join())) return
  if (at.closest("[data-testid=stMain]") && !at.closest("[role=dialog]")) setTimeout(() => at.blur())
}

function compare() {
  const ticked = [...document.querySelectorAll("[data-testid=stMain] a")].find(
    (link) => seen(link) && /\/compare\?.*runs=/.test(link.href))
  const page = [...document.querySelectorAll("[data-testid=stSidebar] a")].find(
    (link) => /\/compare$/.test(link.pathname))
  const link = ticked || page
  if (!link) return false
  link.click()
  return true
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return
  const at = event.composedPath()[0]
  if (at && at.closest && at.closest(TYPING)) return
  const does = { "/": search, v: compare }[event.key]
  if (does && does()) event.preventDefault()
}

// What scrolls can be reached by Tab, so that it scrolls without a mouse: text of logs and files.
function reach() {
  for (const text of document.querySelectorAll("[data-testid=stCode] pre")) {
    const places = [text, text.parentElement]
    for (const place of places) {
      const scrolls = place.scrollHeight > place.clientHeight || place.scrollWidth > place.clientWidth
      if (scrolls && place.tabIndex < 0) place.tabIndex = 0
    }
  }
}

let waiting = 0
function later() {
  clearTimeout(waiting)
  waiting = setTimeout(reach, 200)
}

export default function () {
  if (window.dtvgKeys) return
  window.dtvgKeys = true
  document.addEventListener("keydown", pressed)
  document.addEventListener("keydown", leave, true)
  document.addEventListener("toggle", later, true)
  new MutationObserver(later).observe(document.body, { childList: true, subtree: true })
  window.addEventListener("resize", later)
  later()
}
