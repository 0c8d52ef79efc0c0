(() => {
  const panel = document.currentScript?.closest(".lift-panel");
  const held = panel?.querySelector('script[type="application/json"]');
  if (!held) return;
  const { sliders, cells, sentences, picture, marks } = JSON.parse(held.textContent);
  const chosen = sliders.map((each) => each.at);
  const answer = ({ on, said }) => said[on.reduce((where, each) => where * sliders[each].stops.length + chosen[each], 0)];
  const answers = panel.querySelector(".answers"), image = panel.querySelector("figure img");
  const places = answers.querySelectorAll("td"), lines = answers.querySelectorAll("p.sentence");
  const outputs = [];
  const caption = answers.querySelector("caption"), save = panel.querySelector("figure a");
  const show = () => {
    sliders.forEach((each, at) => { outputs[at].textContent = each.stops[chosen[at]]; });
    caption.textContent = sliders.map((each, at) => `${each.name}: ${each.stops[chosen[at]]}`).join(", ");
    cells.forEach((each, at) => { places[at].textContent = answer(each); });
    sentences.forEach((each, at) => { lines[at].textContent = answer(each); });
    if (image && picture.said.length) {
      const drawn = marks.reduce((svg, each) => svg.replaceAll(each.token, answer(each)), answer(picture));
      image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(drawn)}`;
      save.href = image.src;
    }
  };
  const box = panel.querySelector(".sliders");
  sliders.forEach((each, at) => {
    const input = document.createElement("input"), output = document.createElement("output");
    const label = document.createElement("label"), words = document.createElement("span");
    input.type = "range";
    input.max = each.stops.length - 1;
    input.value = each.at;
    input.dataset.lmSuppressShortcuts = "true"; // JupyterLab takes the arrow keys for itself otherwise
    words.textContent = each.name;
    label.style.display = "contents";
    label.append(words, input);
    box.append(label, output);
    outputs.push(output);
    const name = () => { input.setAttribute("aria-valuetext", each.stops[chosen[at]]); };
    input.addEventListener("input", () => { chosen[at] = input.valueAsNumber; name(); show(); });
    name();
  });
  show();
})();
