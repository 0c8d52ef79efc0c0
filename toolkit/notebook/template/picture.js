(() => {
  const figure = document.currentScript?.closest("figure");
  const [svg, png] = figure?.querySelectorAll("a") ?? [];
  const image = figure?.querySelector("img");
  if (!png) return;
  png.href = "#";
  png.addEventListener("click", (pressed) => {
    pressed.preventDefault();
    const canvas = document.createElement("canvas"), drawn = new Image();
    drawn.addEventListener("load", () => {
      canvas.width = 2 * drawn.width;
      canvas.height = 2 * drawn.height;
      canvas.getContext("2d").drawImage(drawn, 0, 0, canvas.width, canvas.height);
      const saved = document.createElement("a");
      saved.download = png.download;
      saved.href = canvas.toDataURL("image/png");
      saved.click();
    });
    drawn.src = image.src;
  });
})();
