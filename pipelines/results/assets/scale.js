// Show how long a kilometre is: in Web Mercator that depends on the latitude, so it holds for the middle of the map.

const EQUATOR = 40075016.686, LONGEST = 120;  // metres, and pixels of the page

function drawScale() {
  const metres = EQUATOR * ratio / view.scale / Math.cosh(Math.PI * (1 - 2 * view.y));  // per pixel of the page
  const most = LONGEST * metres, power = 10 ** Math.floor(Math.log10(most));
  const length = power * ([5, 2].find((digit) => digit * power <= most) || 1);
  element("scale").style.width = `${length / metres}px`;
  element("scale").textContent = length < 1000 ? `${number(length)} m` : `${number(length / 1000)} km`;
}
