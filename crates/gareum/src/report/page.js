// Everything can be read without this: it switches between light and dark, and shows the tips of plots at once.
(function () {
  var root = document.documentElement, button = document.querySelector(".theme"), modes = ["auto", "light", "dark"];
  function set(mode) {
    if (mode === "auto") root.removeAttribute("data-theme"); else root.setAttribute("data-theme", mode);
    button.textContent = button.getAttribute("data-" + mode);
    button.value = mode;
  }
  var kept = new URLSearchParams(location.search).get("theme");
  try { kept = kept || localStorage.getItem("gareum-theme"); } catch (error) { /* No storage for this file: the system's choice. */ }
  set(modes.indexOf(kept) < 0 ? "auto" : kept);
  button.hidden = false;
  button.addEventListener("click", function () {
    var next = modes[(modes.indexOf(button.value) + 1) % 3];
    set(next);
    try { localStorage.setItem("gareum-theme", next); } catch (error) { /* It lasts as long as the page. */ }
  });
  var tip = document.createElement("div");
  tip.id = "tip"; tip.hidden = true;
  document.body.appendChild(tip);
  document.querySelectorAll("svg title").forEach(function (title) {
    title.parentNode.setAttribute("data-tip", title.textContent);
    title.remove();
  });
  document.addEventListener("pointermove", show);
  document.addEventListener("pointerdown", show);
  function show(event) {
    var mark = event.target.closest && event.target.closest("[data-tip]");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.getAttribute("data-tip");
    tip.style.left = Math.max(8, Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8)) + "px";
    tip.style.top = (event.clientY > 70 ? event.clientY - tip.offsetHeight - 12 : event.clientY + 18) + "px";
  }
})();
