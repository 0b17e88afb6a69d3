"use strict";

// The theme: the system's, until the button says otherwise.
{
  const root = document.documentElement, button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.style.colorScheme || (system.matches ? "dark" : "light")) === "dark";
  const label = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    root.style.colorScheme = isDark() ? "light" : "dark";
    label();
  });
  system.addEventListener("change", label);
  label();
}

// An algorithm to follow: everything else in the plots fades.
{
  const chips = [...document.querySelectorAll(".algorithms button")];
  const follow = (name) => {
    chips.forEach((chip) => chip.setAttribute("aria-pressed", chip.dataset.algorithm === name));
    document.body.toggleAttribute("data-following", Boolean(name));
    for (const series of document.querySelectorAll("svg .series")) {
      series.classList.toggle("followed", series.dataset.algorithm === name);
    }
  };
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      follow(chip.getAttribute("aria-pressed") === "true" ? "" : chip.dataset.algorithm);
    });
  }
}

// The table: a heading sorts, up and then down; what has no value comes last either way.
{
  const table = document.querySelector("table"), body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells], rows = [...body.rows];
  const words = new Intl.Collator(undefined, { numeric: true });

  const key = (row, column) => {
    const cell = row.cells[column];
    if (!cell || cell.className === "reason") return null;
    if (headings[column].className === "name") return cell.textContent;
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "string" ? words.compare(a, b) : a - b);
  };
  headings.forEach((heading, column) => heading.addEventListener("click", () => {
    const rising = heading.getAttribute("aria-sort") !== "ascending";
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const keys = new Map(rows.map((row) => [row, key(row, column)]));
    rows.sort((a, b) => compare(keys.get(a), keys.get(b), rising ? 1 : -1));
    body.append(...rows);
  }));

  const find = document.getElementById("find"), refusals = document.getElementById("refusals");
  const count = document.getElementById("count");
  const filter = () => {
    const sought = find.value.toLowerCase().split(/\s+/);
    const pass = document.querySelector("[name=pass]:checked").value;
    let shown = 0;
    for (const row of rows) {
      const text = `${row.cells[0].textContent} ${row.dataset.pass} ${row.dataset.algorithm}`;
      const wanted = sought.every((word) => text.toLowerCase().includes(word))
        && (refusals.checked || !row.classList.contains("refused"));
      row.classList.toggle("hidden", !wanted);
      shown += wanted && (!pass || row.dataset.pass === pass);
    }
    count.textContent = `${shown} of ${rows.length} rows`;
  };
  find.addEventListener("input", filter);
  refusals.addEventListener("change", filter);
  document.querySelectorAll("[name=pass]").forEach((radio) => radio.addEventListener("change", filter));
  document.querySelector(".bar").addEventListener("submit", (event) => event.preventDefault());
  filter();
}

// What a point says, at once and on a touch too; without this script its <title> says it.
{
  const tip = document.getElementById("tip");
  const titles = new WeakMap();
  const show = (event) => {
    const shape = event.target.closest(".series use, .series path");
    const title = shape?.querySelector("title");
    if (title) {
      titles.set(shape, title.textContent);
      shape.setAttribute("aria-label", title.textContent);
      title.remove();
    }
    const text = shape && titles.get(shape);
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const left = Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${Math.max(8, event.clientY - tip.offsetHeight - 12)}px`;
  };
  document.addEventListener("pointerover", show);
  document.addEventListener("pointerdown", show);
}
