/* Which parts of a page are formulas; MathJax itself is loaded by mkdocs.yml. */
window.MathJax = {
  tex: {inlineMath: [['\\(', '\\)']], displayMath: [['\\[', '\\]']], processEscapes: true},
  options: {ignoreHtmlClass: '.*|', processHtmlClass: 'arithmatex'},
};
