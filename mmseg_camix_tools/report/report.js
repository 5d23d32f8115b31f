for (const input of document.querySelectorAll('.slider input')) {
  const move = () => {
    input.parentElement.style.setProperty('--at', input.value + '%');
    input.setAttribute('aria-valuetext', input.value + ' % ' + input.dataset.left);
  };
  input.addEventListener('input', move);
  move();
}
addEventListener('beforeprint', () => document.querySelectorAll('details').forEach(each => { each.open = true; }));
