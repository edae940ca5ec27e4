"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Sound and video are written once each and shared by all players that use them.
const media = JSON.parse(document.getElementById("media").textContent);
const urls = {};
function urlOf(key) {
  if (!urls[key]) {
    const [head, body] = media[key].split(",");
    const bytes = Uint8Array.from(atob(body), (c) => c.charCodeAt(0));
    urls[key] = URL.createObjectURL(new Blob([bytes], { type: head.slice(5, head.indexOf(";")) }));
  }
  return urls[key];
}

for (const box of all(".player")) {
  const player = box.querySelector("video, audio");
  const wave = box.querySelector(".wave");
  const start = Number(box.dataset.start), end = Number(box.dataset.end);
  const transcript = box.closest(".exhibit").querySelector(".transcript");
  const words = transcript ? all("span", transcript) : [];
  const from = (word) => Number(word.dataset.s);
  let stopAt = Infinity, chosen = -1;

  const play = (at, until = Infinity) => {
    stopAt = until;
    player.currentTime = at;
    player.play().catch(() => {});
  };
  player.src = urlOf(box.dataset.media);
  player.addEventListener("loadedmetadata", () => { if (player.currentTime === 0) player.currentTime = start; }, { once: true });
  player.addEventListener("play", () => {
    for (const other of all("video, audio")) if (other !== player) other.pause();
    follow();
  });
  player.addEventListener("timeupdate", show);
  player.addEventListener("seeking", show);
  box.querySelector(".cue").addEventListener("click", () => play(start, end));

  function show() {
    const now = player.currentTime;
    if (wave && player.duration) wave.style.setProperty("--at", `${(100 * now) / player.duration}%`);
    for (const word of words) word.classList.toggle("on", !player.paused && now >= from(word) && now < Number(word.dataset.e));
    if (now >= stopAt) { stopAt = Infinity; player.pause(); }
  }
  function follow() {
    show();
    if (!player.paused) requestAnimationFrame(follow);
  }

  wave?.addEventListener("click", (event) => {
    const area = wave.getBoundingClientRect();
    if (player.duration) play((player.duration * (event.clientX - area.left)) / area.width);
  });
  transcript?.addEventListener("click", (event) => {
    if (event.target.dataset.s) play(from(event.target));
  });
  transcript?.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) {
      words[chosen]?.classList.remove("at");
      chosen = Math.min(Math.max(chosen + step, 0), words.length - 1);
      words[chosen]?.classList.add("at");
    } else if (event.key === "Enter") {
      play(chosen < 0 ? start : from(words[chosen]));
    } else {
      return;
    }
    event.preventDefault();
  });
}

// A chip leads to its exhibit, and shows what rests on it.
for (const chip of all(".chip")) {
  const claims = all(".claim", chip.closest(".answer")).filter((c) => c.dataset.exhibits.split(" ").includes(chip.dataset.exhibit));
  const light = (on) => claims.forEach((claim) => claim.classList.toggle("lit", on));
  for (const name of ["pointerenter", "focus"]) chip.addEventListener(name, () => light(true));
  for (const name of ["pointerleave", "blur"]) chip.addEventListener(name, () => light(false));
  chip.addEventListener("click", () => arrive(chip.getAttribute("href").slice(1)));
}
function arrive(id) {
  const exhibit = document.getElementById(id);
  if (!exhibit?.classList.contains("exhibit")) return;
  const folded = exhibit.closest("details");
  if (folded) folded.open = true;
  exhibit.classList.remove("flash");
  void exhibit.offsetWidth; // restarts the animation
  exhibit.classList.add("flash");
  exhibit.focus({ preventScroll: true });
  setTimeout(() => exhibit.classList.remove("flash"), 2500);
}
arrive(location.hash.slice(1));

const dialog = document.querySelector(".light");
for (const button of all("[data-enlarge]")) {
  button.addEventListener("click", () => {
    const exhibit = document.getElementById(button.dataset.enlarge);
    const picture = exhibit.querySelector("page" in button.dataset ? ".page" : ".enlarge img");
    const large = dialog.querySelector("img");
    large.src = picture.src;
    large.alt = picture.alt;
    dialog.showModal();
  });
}
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
