// Applies the stored colors before the page is drawn. A module would run after the first drawing.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem('trailhose-theme');
  } catch {
    // The browser does not permit storage: the colors of the system apply.
  }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
