// Runs before the page is drawn, so that it never flashes in other colours: the ones chosen by hand, else the system's.
(function () {
  var kept = null;
  try { kept = localStorage.getItem('gareum-theme'); } catch (error) { /* No storage: the system's choice. */ }
  if (kept === 'light' || kept === 'dark') document.documentElement.setAttribute('data-theme', kept);
  document.documentElement.classList.add('scripted');
})();
