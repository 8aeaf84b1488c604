"use strict";
(() => {
  const root = document.documentElement;
  const store = {
    get(key) { try { return sessionStorage.getItem("vrmatte-" + key); } catch { return null; } },
    set(key, value) { try { sessionStorage.setItem("vrmatte-" + key, value); } catch { /* not kept */ } },
  };
  for (const part of document.querySelectorAll(".needs-script")) part.hidden = false;

  // What is behind the results; kept over the page's renewals.
  const colour = document.getElementById("colour");
  if (colour) {
    const pick = (value) => { root.style.setProperty("--picked", value); store.set("colour", value); };
    colour.value = store.get("colour") || colour.value;
    root.style.setProperty("--picked", colour.value);
    colour.addEventListener("input", () => {
      pick(colour.value);
      document.getElementById("behind-colour").checked = true;
      store.set("behind", "behind-colour");
    });
    const choices = document.getElementsByName("behind");
    for (const choice of choices) {  // chosen while the page was still being read
      if (choice.checked && !choice.defaultChecked) store.set("behind", choice.id);
    }
    for (const choice of choices) {
      if (choice.id === store.get("behind")) choice.checked = true;
      choice.addEventListener("change", () => store.set("behind", choice.id));
    }
  }

  // A flag leads to its moment, in place.
  const seek = (video, seconds) => {
    const go = () => { video.currentTime = seconds; };
    if (video.readyState >= 1) go();
    else {
      video.addEventListener("loadedmetadata", go, { once: true });
      video.preload = "auto";
      video.load();
    }
    video.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-seek]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const video = document.getElementById(link.dataset.video);
    video.pause();
    seek(video, Number(link.dataset.seek));
  });
  for (const video of document.querySelectorAll("video")) {
    video.querySelector("source").addEventListener("error", () => {
      video.nextElementSibling.hidden = false;
    });
  }

  // What is open stays open, and where one was.
  for (const part of document.querySelectorAll("details")) {
    const kept = store.get(part.id);
    if (kept !== null) part.open = kept === "open";
    part.addEventListener("toggle", () => store.set(part.id, part.open ? "open" : "shut"));
  }

  const every = Number(root.dataset.refresh);
  if (!every) return;
  const age = () => Date.now() / 1000 - Number(root.dataset.made);
  // Not while somebody looks at a video.
  const busy = () => [...document.querySelectorAll("video")].some((video) => !video.paused || video.currentTime > 0);
  if (root.dataset.for) {  // the run has ended, and its last pictures are about to come
    setInterval(() => {
      if (age() < Number(root.dataset.for) && !busy() && !document.hidden) location.reload();
    }, 1000 * every);
    return;
  }
  const renew = document.getElementById("renew");
  renew.checked = store.get("renew") !== "no";
  renew.addEventListener("change", () => store.set("renew", renew.checked ? "yes" : "no"));
  const minutes = Math.floor(age() / 60);
  if (minutes >= 2) {
    const hours = Math.floor(minutes / 60);
    const long = hours < 2 ? `${minutes} minutes` : hours < 48 ? `${hours} hours` : `${Math.floor(hours / 24)} days`;
    document.getElementById("stale").textContent =
      `This page has not been written for ${long}: its machine may have gone. ` +
      "The same command goes on with the run; “vrmatte report” writes this page anew.";
  }
  // Slowly where nothing changes any more.
  setInterval(() => {
    if (renew.checked && !busy() && !document.hidden) location.reload();
  }, 1000 * (minutes >= 2 ? 60 : every));
})();
