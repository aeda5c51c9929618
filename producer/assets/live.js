// See README.md, "How pages follow".
(() => {
  "use strict";
  const STALE_AFTER = 10_000;
  const POLL_EVERY = 5_000;
  // For times that are told as ages, and what no event tells of: a ledger or a queue that went.
  const ANYWAY_EVERY = 10_000;
  const main = () => document.getElementById("main");
  const banner = document.getElementById("connection");
  let fresh = Date.now();
  let trouble = "";
  let connected = true;
  let waiting = false;

  // What a person is at is left alone: open details, and a form in which something was typed.
  const keep = Idiomorph.defaults.callbacks;
  keep.beforeNodeMorphed = (old) => !(old.dataset && "typed" in old.dataset);
  // What was said of the last press stays until the page is left.
  keep.beforeNodeRemoved = (old) => old.id !== "said";
  keep.beforeAttributeUpdated = (name, node) => !(name === "open" && node.tagName === "DETAILS");
  document.addEventListener("input", (event) => {
    const form = event.target.closest("form");
    if (form) form.dataset.typed = "";
  });

  const follows = () => main() && main().hasAttribute("hx-get");
  const refresh = () => {
    if (!follows()) return;
    if (document.hidden) {
      waiting = true;
      return;
    }
    waiting = false;
    htmx.trigger(main(), "changed");
  };
  // A browser lets tabs that ask for the same address wait for one another, to share what may be kept. Nothing of a page may.
  document.addEventListener("htmx:configRequest", (event) => (event.detail.parameters._ = crypto.getRandomValues(new Uint32Array(1))[0]));
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && waiting) refresh();
  });

  const show = () => {
    const age = Math.round((Date.now() - fresh) / 1000);
    const stale = follows() && (trouble || (!connected && Date.now() - fresh > STALE_AFTER));
    const text = stale ? `${trouble || "The server does not answer."} Updated ${age} s ago, reconnecting.` : "";
    if (banner.textContent !== text) banner.textContent = text;
    banner.hidden = !text;
    document.body.classList.toggle("stale", Boolean(text));
  };
  setInterval(show, 1_000);

  document.addEventListener("htmx:afterSwap", () => {
    fresh = Date.now();
    trouble = "";
    show();
  });
  document.addEventListener("htmx:responseError", (event) => {
    const said = event.detail.xhr.getResponseHeader("reseal-says");
    trouble = said || `The server answered ${event.detail.xhr.status}.`;
    show();
  });
  for (const silent of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(silent, () => {
      trouble = "The server does not answer.";
      show();
    });
  }

  // A page that is left gives up what it had asked for, which is no error.
  let asking = null;
  document.addEventListener("htmx:beforeSend", (event) => (asking = event.detail.xhr));
  addEventListener("pagehide", () => {
    if (asking) asking.onabort = null;
  });

  // Whoever holds the lock holds the stream; when its tab closes, the next one gets it.
  const others = new BroadcastChannel("reseal");
  const heard = (message) => {
    connected = message.connected;
    if (message.changed) refresh();
    show();
  };
  others.onmessage = (event) => heard(event.data);
  const tell = (message) => {
    heard(message);
    others.postMessage(message);
  };
  const stream = () =>
    new Promise(() => {
      const source = new EventSource("/live");
      let opened = false;
      source.onopen = () => {
        // What happened while nobody listened is not sent: look once.
        tell({ connected: true, changed: opened });
        opened = true;
      };
      source.onerror = () => {
        tell({ connected: false });
        if (source.readyState === EventSource.CLOSED) setTimeout(() => stream(), POLL_EVERY);
      };
      for (const name of ["change", "rotation"]) {
        source.addEventListener(name, () => tell({ connected: true, changed: true }));
      }
    });
  if (follows()) {
    if (navigator.locks && window.EventSource) navigator.locks.request("reseal-stream", stream);
    setInterval(() => {
      if (!connected || trouble) refresh();
    }, POLL_EVERY);
    setInterval(refresh, ANYWAY_EVERY);
  }
})();
