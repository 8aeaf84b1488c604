"use strict";
(() => {
  const root = document.documentElement;
  const store = {
    get(key) { try { return sessionStorage.getItem("vrmatte-" + key); } catch { return null; } },
    set(key, value) { try { sessionStorage.setItem("vrmatte-" + key, value); } catch { /* not kept */ } },
  };
  root.classList.add("script");
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
  }
  for (const choice of document.querySelectorAll(".choices input[type=radio]")) {
    // chosen while the page was still being read
    if (choice.checked && !choice.defaultChecked) store.set(choice.name, choice.id);
    choice.addEventListener("change", () => store.set(choice.name, choice.id));
  }
  for (const name of ["behind", "eyes", "view"]) {
    const choice = document.getElementById(store.get(name));
    if (choice && choice.id !== "behind-own") choice.checked = true;  // a file is not kept
  }

  // A picture or film of the person's own behind the results: it is read where it is, and sent
  // nowhere. A film lies in the players that can be seen.
  const own = document.getElementById("own");
  let film = null;
  if (own) {
    const layFilms = () => {
      const shown = film !== null && document.getElementById("behind-own").checked;
      for (const ground of document.querySelectorAll(".ground.behind")) {
        ground.querySelector(".own")?.remove();
        if (!shown || !ground.closest("details").open) continue;
        const behind = Object.assign(document.createElement("video"), {
          className: "own", src: film, muted: true, loop: true, autoplay: true, playsInline: true,
        });
        behind.setAttribute("aria-hidden", "true");
        ground.prepend(behind);
      }
    };
    let address = null;
    own.addEventListener("change", () => {
      const [file] = own.files;
      if (!file) return;
      if (address !== null) URL.revokeObjectURL(address);
      address = URL.createObjectURL(file);
      film = file.type.startsWith("video/") ? address : null;
      root.style.setProperty("--own", film === null ? `url("${address}") center / cover` : "#000");
      document.getElementById("behind-own").checked = true;
      layFilms();
    });
    document.getElementById("behind-own").addEventListener("change", () => {
      if (address === null) own.click();
    });
    for (const choice of document.getElementsByName("behind")) choice.addEventListener("change", layFilms);
    for (const player of document.querySelectorAll("details.player")) player.addEventListener("toggle", layFilms);
  }

  // The slider between source and result.
  for (const slider of document.querySelectorAll("input.wipe")) {
    slider.value = slider.defaultValue;  // what a browser keeps over a reload would not be shown
    slider.addEventListener("input", () => {
      slider.parentElement.style.setProperty("--wipe", slider.value);
    });
  }

  // Copy an override or the command. Where the page comes by plain HTTP there is no clipboard.
  const copy = async (part) => {
    try {
      await navigator.clipboard.writeText(part.textContent);
      return true;
    } catch {
      const range = document.createRange();
      range.selectNodeContents(part);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      return document.execCommand("copy");
    }
  };
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.addEventListener("click", async () => {
      const done = await copy(document.getElementById(button.dataset.copy));
      button.textContent = done ? "Copied" : "Selected: copy it";
      document.getElementById("said").textContent = button.textContent;
      setTimeout(() => { button.textContent = "Copy"; }, 3000);
    });
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
    video.closest("details").open = true;
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
    video.querySelector("source:last-of-type").addEventListener("error", () => {
      video.closest("details").querySelector(".unplayed").hidden = false;
    });
  }

  // What is open stays open, and where one was.
  for (const part of document.querySelectorAll("details")) {
    const kept = store.get(part.id);
    if (kept !== null) part.open = kept === "open";
    part.addEventListener("toggle", () => {
      store.set(part.id, part.open ? "open" : "shut");
      const video = part.open && part.querySelector("video:not(.own)");
      if (video && video.preload === "none") video.preload = "metadata";  // its first picture
    });
  }

  const every = Number(root.dataset.refresh);
  if (!every) return;
  const age = () => Date.now() / 1000 - Number(root.dataset.made);
  // Not while somebody looks at a video, or has put a file of theirs behind it: that would be lost.
  const busy = () => Boolean(own?.files.length && document.getElementById("behind-own").checked)
    || [...document.querySelectorAll("video")].some((video) => !video.paused || video.currentTime > 0);
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
