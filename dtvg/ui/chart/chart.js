// One Plotly figure that is updated in place, so that zoom, pan and legend choices survive a redraw.
// The library itself is served by the app; nothing is asked of another machine.

let library = null;

function plotly(path) {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  library ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = new URL(path, document.baseURI).href;
    script.onload = () => done(window.Plotly);
    script.onerror = () => {
      library = null;
      failed(new Error("the chart library did not load"));
    };
    document.head.append(script);
  });
  return library;
}

const FULL = {
  width: 24,
  height: 24,
  path: "M7 14H5v5h5v-2H7v-3zM5 10h2V7h3V5H5v5zm12 7h-3v2h5v-5h-2v3zM14 5v2h3v3h2V5h-5z",
};

function fullscreen(place) {
  return {
    name: "Full screen",
    title: "Full screen",
    icon: FULL,
    click: () => (document.fullscreenElement ? document.exitFullscreen() : place.requestFullscreen()),
  };
}

// A chart is drawn when it comes near to what is seen, so that a page stands early however long it
// is; its place and its text are there from the start. What waits is drawn before printing, too.
const waiting = new Map(); // place → what draws it, and who watches the place
const watchers = new WeakMap(); // what scrolls → its observer
const NEAR = "50% 0px"; // half a screen above and below

function watcher(place) {
  const scrolls = place.closest('[data-testid="stMain"], [data-testid="stDialog"]');
  const key = scrolls ?? document;
  if (!watchers.has(key)) {
    const options = { root: scrolls, rootMargin: NEAR };
    watchers.set(key, new IntersectionObserver((seen) => {
      for (const one of seen) if (one.isIntersecting) release(one.target);
    }, options));
  }
  return watchers.get(key);
}

function whenNear(place, work) {
  forget(place);
  const observer = watcher(place);
  waiting.set(place, { work, observer });
  place.dataset.waiting = "1";
  observer.observe(place); // tells at once where it is
}

function release(place) {
  const work = waiting.get(place)?.work;
  forget(place);
  work?.();
}

function forget(place) {
  waiting.get(place)?.observer.unobserve(place);
  waiting.delete(place);
  delete place.dataset.waiting;
}

window.addEventListener("beforeprint", () => [...waiting.keys()].forEach(release));

// Charts of one link group share their horizontal range and show the same x when hovered.
function follow(place, name) {
  place.on("plotly_relayout", (change) => {
    const range = change["xaxis.range"] ?? [change["xaxis.range[0]"], change["xaxis.range[1]"]];
    const free = change["xaxis.autorange"];
    if (place.dataset.led || (range[0] === undefined && !free)) return;
    place.dataset.zoomed = free ? "" : "1";
    for (const other of companions(place, name)) {
      other.dataset.led = "1";
      other.dataset.zoomed = place.dataset.zoomed;
      const to = free ? { "xaxis.autorange": true } : { "xaxis.range": [...range] };
      window.Plotly.relayout(other, to).finally(() => delete other.dataset.led);
    }
  });
  place.on("plotly_hover", (event) => {
    const x = event.points?.[0]?.x;
    if (place.dataset.led || x === undefined) return;
    for (const other of companions(place, name)) {
      other.dataset.led = "1";
      try {
        window.Plotly.Fx.hover(other, { xval: x });
      } catch {
        // the other chart has nothing there
      }
      delete other.dataset.led;
    }
  });
  place.on("plotly_unhover", () => {
    for (const other of companions(place, name)) window.Plotly.Fx.unhover(other);
  });
}

// A chart that is drawn late takes over what a reader zoomed its group to.
function catchUp(place, name) {
  const leads = companions(place, name).find((other) => other.dataset.zoomed);
  if (!leads) return;
  place.dataset.led = place.dataset.zoomed = "1";
  const to = { "xaxis.range": [...leads.layout.xaxis.range] };
  window.Plotly.relayout(place, to).finally(() => delete place.dataset.led);
}

function companions(place, name) {
  const all = document.querySelectorAll(`.dtvg-chart[data-link="${CSS.escape(name)}"]`);
  return [...all].filter((other) => other !== place && other.data);
}

// Where along the horizontal axis the pointer is: of a bar, `x` tells only its end.
function pointedAt(place, point, event) {
  const axis = point.xaxis;
  if (!axis?.p2d || !event) return null;
  const at = axis.p2d(event.clientX - place.getBoundingClientRect().left - axis._offset);
  return Number.isFinite(at) ? at : null;
}

// A name at the end of a line hides and shows that line, as an entry of a legend does.
const END = "line end ";

function dim(layout, hidden) {
  for (const note of layout.annotations ?? []) {
    if (note.name?.startsWith(END)) note.opacity = hidden.has(note.name.slice(END.length)) ? 0.45 : 1;
  }
}

function toggle(Plotly, place, label) {
  if (!label?.startsWith(END)) return;
  const name = label.slice(END.length);
  if (!place.away.delete(name)) place.away.add(name);
  const mine = place.data.flatMap((trace, i) => (trace.name === name ? [i] : []));
  const annotations = structuredClone(place.layout.annotations);
  dim({ annotations }, place.away);
  Plotly.update(place, { visible: place.away.has(name) ? "legendonly" : true }, { annotations }, mine);
}

// The buttons above a chart are one stop for Tab, as a toolbar's should be; arrows go along them.
const ALONG = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };

function barButtons(place) {
  return [...place.querySelectorAll(".modebar-btn")];
}

function oneStop(place, wanted) {
  const all = barButtons(place);
  const stop = wanted ?? all.find((one) => one.dataset.stop) ?? all[0];
  for (const one of all) {
    one.tabIndex = one === stop ? 0 : -1;
    if (one === stop) one.dataset.stop = "1";
    else delete one.dataset.stop;
  }
}

function alongBar(event) {
  const all = barButtons(event.currentTarget);
  const at = all.indexOf(event.target);
  const by = ALONG[event.key];
  if (at < 0 || by === undefined) return;
  const to = Number.isFinite(by) ? (at + by + all.length) % all.length : by > 0 ? all.length - 1 : 0;
  all[to].focus();
  event.preventDefault();
  event.stopPropagation(); // Home and End are keys of a page, too
}

function keepOneStop(place) {
  oneStop(place);
  place.on("plotly_afterplot", () => oneStop(place)); // which may have made the buttons anew
  place.addEventListener("keydown", alongBar);
  place.addEventListener("focusin", (event) => {
    if (barButtons(place).includes(event.target)) oneStop(place, event.target);
  });
}

function draw(Plotly, place, data, figure, setTriggerValue) {
  const config = {
    responsive: true,
    ...data.config,
    modeBarButtonsToAdd: (place.buttons ??= [fullscreen(place)]), // another object would be a new plot
  };
  const layout = { ...figure.layout, autosize: true };
  if (place.revision !== layout.uirevision) place.away = new Set();
  place.revision = layout.uirevision;
  dim(layout, place.away);
  for (const trace of figure.data) if (place.away.has(trace.name)) trace.visible = "legendonly";
  return Plotly.react(place, figure.data, layout, config).then(() => {
    if (place.dataset.heard) return;
    place.dataset.heard = "1";
    keepOneStop(place);
    place.on("plotly_click", (event) => {
      if (!place.dataset.clicks) return;
      const point = event.points?.[0];
      if (!point) { // beside every bar, where a chart hears that too (layout.clickanywhere)
        const x = event.xvals?.[0];
        if (Number.isFinite(x)) setTriggerValue("clicked", { x, y: null, custom: null, at: x });
        return;
      }
      const at = pointedAt(place, point, event.event);
      setTriggerValue("clicked", { x: point.x, y: point.y, custom: point.customdata ?? null, at });
    });
    place.on("plotly_clickannotation", (event) => toggle(Plotly, place, event.annotation.name));
    if (data.link) follow(place, data.link);
    if (data.link) catchUp(place, data.link);
  });
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  let place = parentElement.querySelector(".dtvg-chart");
  if (!place) {
    place = document.createElement("div");
    place.className = "dtvg-chart";
    parentElement.append(place);
  }
  place.setAttribute("role", "figure");
  place.setAttribute("aria-label", data.alt);
  if (data.link) place.dataset.link = data.link;
  if (data.clicks) place.dataset.clicks = "1";
  if (place.figure === data.figure) return undefined;
  place.figure = data.figure;
  const figure = JSON.parse(data.figure);
  place.style.height = `${figure.layout.height ?? 450}px`; // at once, so that nothing moves later
  const loaded = plotly(data.library);
  const failed = (error) => {
    place.textContent = `This chart could not be drawn: ${error.message}.`;
  };
  loaded.catch(failed);
  whenNear(place, () =>
    loaded.then((Plotly) => draw(Plotly, place, data, figure, setTriggerValue)).catch(failed),
  );
  return () => {
    if (place.isConnected) return;
    forget(place);
    if (window.Plotly) window.Plotly.purge(place);
  };
}
