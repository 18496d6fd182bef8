// Mends what Gradio's own components lack for screen readers and the keyboard, and for other languages
// than English.
//
// The page loads this once, in its head (see theme.py). Gradio draws and redraws its components, so
// every change of the page is checked again. This file has no sentences: names come from texts that
// the page already shows, or from `wording`, which has the page's own words for Gradio's.

(() => {
  if (window.accessible) return; // a page that the server rendered may bring the script twice
  window.accessible = true;

  const STEP = 0.02; // of the picture's width, by which an arrow key moves the line
  const PAGE = 0.1;

  const text = (element) => element?.textContent.replace(/\s+/g, " ").trim() ?? "";

  /** Set attributes; null removes one. Right values are left alone, or the observer would never rest. */
  function set(element, attributes) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null) element.removeAttribute(name);
      else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
    }
  }

  /** The element's id, which it gets if it has none. */
  let ids = 0;
  function idOf(element) {
    element.id ||= `accessible-${++ids}`;
    return element.id;
  }

  const opened = new WeakSet(); // colour dialogs
  let shownTab = null; // the last one that was scrolled to

  /** Hue of a CSS colour, in degrees; 0 for greys. */
  function hue(color) {
    const context = document.createElement("canvas").getContext("2d");
    context.fillStyle = color; // which makes #rrggbb of it
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(context.fillStyle.slice(at, at + 2), 16));
    const most = Math.max(red, green, blue);
    const range = most - Math.min(red, green, blue);
    if (!range) return 0;
    if (most === red) return (60 * (green - blue) / range + 360) % 360;
    return most === green ? 120 + 60 * (blue - red) / range : 240 + 60 * (red - green) / range;
  }

  /**
   * Have a colour dialog show the hue of its colour. Gradio works the hue out some time after it has
   * drawn the dialog, and draws it only when the colour changes. So change it, and back, until then.
   */
  function showHue(dialog, tries = 40) {
    const input = dialog.querySelector("input[type=text]");
    const shown = Number(dialog.querySelector(".color-gradient").style.getPropertyValue("--hue"));
    const { value } = input;
    const wrong = Math.abs(hue(value) - shown) % 360;
    if (!dialog.isConnected || !tries || (value && Math.min(wrong, 360 - wrong) <= 1)) return;
    if (value) {
      for (const color of [hue(value) ? "#000000" : "#ff0000", value]) {
        input.value = color;
        input.dispatchEvent(new Event("change", { bubbles: true }));
      }
    }
    setTimeout(showHue, 50, dialog, tries - 1);
  }

  /** Gradio's wording in the page's own words; two of the phrases end in a slider's name. */
  function inOtherWords(word) {
    if (word in window.wording) return window.wording[word];
    const [, kind, name] = word.match(/^(number input for|range slider for) (.+)$/) ?? [];
    return kind ? `${window.wording[kind]} ${name}` : word;
  }

  const SIZE = new Intl.NumberFormat(document.documentElement.lang, {
    minimumFractionDigits: 1,
    useGrouping: false,
  });

  /** Write an element's texts anew; those that stay the same are left alone. */
  function rewrite(element, change) {
    const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const { data } = texts.currentNode;
      const said = change(data);
      if (said !== data) texts.currentNode.data = said;
    }
  }

  // What to do with each element that matches a selector.
  const MENDS = {
    "[aria-label], [title]": (element) => {
      for (const name of ["aria-label", "title"]) {
        const word = element.getAttribute(name);
        if (word) set(element, { [name]: inOtherWords(word) });
      }
    },
    "#photo, #ground-picture, #album-files, .toast-wrap": (box) =>
      rewrite(box, (data) => {
        const said = inOtherWords(data.trim());
        return said === data.trim() ? data : said;
      }),
    // "94.9 KB" as the page's language writes numbers.
    ".file-preview .download": (cell) =>
      rewrite(cell, (data) => data.replace(/\d+\.\d/, (size) => SIZE.format(size))),

    // A picture's name says more than "Thumbnail 3 of 12". The caption repeats it.
    ".thumbnail-item": (button) => {
      if (button.querySelector("img[alt]:not([alt=''])")) set(button, { "aria-label": null });
    },
    ".thumbnail-item .caption-label": (caption) => set(caption, { "aria-hidden": "true" }),

    // "Drop an image file here to upload" would replace the button's own text.
    "button[aria-dropeffect]": (button) => {
      if (text(button)) set(button, { "aria-label": null });
    },
    // A button in a button: the outer one does nothing, and its name is an untranslated key.
    ".icon-button:has(button)": (outer) => {
      const name = outer.querySelector("button").getAttribute("aria-label");
      set(outer, { role: "group", tabindex: -1, "aria-haspopup": null });
      set(outer, { "aria-label": name, title: name });
    },
    // A button in a link is a second tab stop for the same download.
    "a.download-link > button": (button) => set(button, { tabindex: -1 }),

    // Names for what has none, or one that its role does not allow.
    ".empty[aria-label]": (empty) => set(empty, { role: "img" }),
    "fieldset:has(> [data-testid=block-info])": (fieldset) => {
      const title = fieldset.querySelector(":scope > [data-testid=block-info]");
      set(fieldset, { "aria-labelledby": idOf(title) });
    },
    // Radio buttons with one name are one tab stop, and the arrow keys move among them.
    "fieldset input[type=radio]": (radio) => {
      const group = radio.closest("fieldset");
      if (radio.name !== idOf(group)) radio.name = idOf(group);
    },
    // Chromium makes a scrolling list a tab stop; the list closes when it gets the focus, which is
    // then lost.
    "ul[role=listbox]": (list) => set(list, { tabindex: -1 }),
    ".cm-content": (code) => {
      const label = code.closest(".block")?.querySelector("[data-testid=block-label]");
      if (text(label)) set(code, { "aria-label": text(label) });
    },
    ".cm-scroller": (scroller) => set(scroller, { tabindex: 0 }),
    "nav a": (link) => {
      const current = link.classList.contains("active");
      set(link, { "aria-current": current ? "page" : null });
      // Gradio gives all pages the title of the first.
      const first = link === link.parentElement.querySelector("a");
      if (current && !first && !document.title.startsWith(text(link))) {
        document.title = `${text(link)} | ${document.title}`;
      }
    },

    // What opens and closes says whether it is open.
    "button.label-wrap": (button) => {
      set(button, { "aria-expanded": button.classList.contains("open") });
      const arrow = button.querySelector(".icon");
      if (arrow) set(arrow, { "aria-hidden": "true" });
    },
    "[role=tabpanel]": (panel) => {
      const tab = document.getElementById(`${panel.id}-button`);
      if (tab) set(panel, { "aria-label": text(tab) });
    },

    // The row of tabs scrolls until the selected one is visible.
    "[role=tab][aria-selected=true]": (tab) => {
      if (tab === shownTab) return;
      shownTab = tab;
      const row = tab.parentElement;
      const outside = Math.max(tab.offsetLeft + tab.offsetWidth - row.clientWidth, 0);
      row.scrollLeft = Math.min(Math.max(row.scrollLeft, outside), tab.offsetLeft);
    },

    // Messages that come and go are read out, because the box around them stays.
    ".spoken .html-container": (box) => set(box, { role: "status" }),

    // The checkered pattern is only behind the picture, not beside it.
    ".checkered img": (image) => {
      const { clientWidth: width, clientHeight: height, naturalWidth, naturalHeight } = image;
      if (!naturalWidth || !width) return;
      const scale = Math.min(width / naturalWidth, height / naturalHeight);
      const beside = [height - naturalHeight * scale, width - naturalWidth * scale];
      const padding = beside.map((room) => `${Math.max(0, room / 2).toFixed(1)}px`).join(" ");
      if (image.style.getPropertyValue("--beside") !== padding) image.style.setProperty("--beside", padding);
    },

    // The colour dialog opens at red instead of at the current colour, and its slider of hues says 0
    // wherever it stands.
    ".color-picker": (dialog) => {
      if (!opened.has(dialog)) showHue(dialog);
      opened.add(dialog);
    },
    ".color-picker .hue-slider": (slider) => {
      const shown = slider.parentElement.querySelector(".color-gradient").style.getPropertyValue("--hue");
      set(slider, { "aria-valuenow": Math.round(Number(shown)) });
    },

    // The line between before and after.
    "[data-testid=slider]": (handle) => {
      const percent = Math.round(100 * position(handle));
      set(handle, {
        role: "slider",
        tabindex: 0,
        "aria-valuemin": 0,
        "aria-valuemax": 100,
        "aria-valuenow": percent,
        "aria-valuetext": `${percent}%`,
      });
      const images = [...handle.parentElement.querySelectorAll("img[alt]")];
      const name = images.map((image) => image.alt).join(" | ");
      if (name) set(handle, { "aria-label": name });
    },
  };

  function mend() {
    for (const [selector, rule] of Object.entries(MENDS)) {
      document.querySelectorAll(selector).forEach(rule);
    }
    keepFocus();
  }

  // Gradio redraws the small buttons over a picture when one of them, such as fullscreen, is used;
  // the focus would then go back to the top of the page.
  const BAR = ".icon-button-wrapper button";
  let used = null; // the button that has the focus: { button, block, place }

  document.addEventListener("focusin", ({ target }) => {
    const block = target.matches(BAR) ? target.closest(".block") : null;
    const place = block && [...block.querySelectorAll(BAR)].indexOf(target);
    used = block && { button: target, block, place };
  });

  function keepFocus() {
    if (!used || used.button.isConnected || document.activeElement !== document.body) return;
    const { block, place } = used;
    (block.querySelectorAll(BAR)[place] ?? block.querySelector("button"))?.focus();
  }

  /** Where the picture under the line is: it may be narrower than its frame. */
  function frame(handle) {
    const image = handle.parentElement.querySelector("img");
    const box = image.getBoundingClientRect();
    const scale = Math.min(
      box.width / (image.naturalWidth || 1),
      box.height / (image.naturalHeight || 1),
    );
    const width = image.naturalWidth * scale;
    return { left: box.left + (box.width - width) / 2, width };
  }

  /** Where the line is, from 0, left, to 1, right. */
  function position(handle) {
    if (!handle.parentElement.querySelector("img")) return 0;
    const { left, width } = frame(handle);
    const at = new DOMMatrix(getComputedStyle(handle).transform).m41;
    const x = handle.parentElement.getBoundingClientRect().left + at;
    return width ? Math.min(Math.max((x - left) / width, 0), 1) : 0;
  }

  /** Drag the line as a mouse does: the component listens to nothing else. */
  function pull(handle, share) {
    const { left, width } = frame(handle);
    const clientX = left + width * Math.min(Math.max(share, 0), 1);
    const mouse = { bubbles: true, cancelable: true, view: window, clientX };
    handle.dispatchEvent(new MouseEvent("mousedown", mouse));
    window.dispatchEvent(new MouseEvent("mouseup", mouse));
    handle.focus();
  }

  function pullByKey(event) {
    const handle = event.target;
    const now = position(handle);
    const aims = {
      ArrowLeft: now - STEP,
      ArrowDown: now - STEP,
      ArrowRight: now + STEP,
      ArrowUp: now + STEP,
      PageDown: now - PAGE,
      PageUp: now + PAGE,
      Home: 0,
      End: 1,
    };
    if (!(event.key in aims)) return;
    event.preventDefault(); // the page must not scroll
    pull(handle, aims[event.key]);
  }

  /** The arrow keys go from tab to tab, as in other programs. */
  function changeTab(event) {
    const tabs = [...event.target.closest("[role=tablist]").querySelectorAll("[role=tab]")];
    const now = tabs.indexOf(event.target);
    const aims = {
      ArrowLeft: (now - 1 + tabs.length) % tabs.length,
      ArrowRight: (now + 1) % tabs.length,
      Home: 0,
      End: tabs.length - 1,
    };
    if (!(event.key in aims)) return;
    event.preventDefault();
    const tab = tabs[aims[event.key]];
    tab.focus();
    tab.click();
  }

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target.matches("[data-testid=slider][role=slider]")) pullByKey(event);
    else if (event.target.matches("[role=tab]")) changeTab(event);
  });

  // A number typed beside a slider is used once it is complete, limited to the slider's range: two of
  // its three digits may be out of range.
  const typed = ({ target }) =>
    target.matches?.("input[type=number]") && target.closest(".block")?.querySelector("input[type=range]")
      ? target
      : null;
  const within = (input) => {
    const [low, high] = [Number(input.min), Number(input.max)];
    return Math.min(Math.max(input.valueAsNumber, low), high);
  };
  document.addEventListener(
    "input",
    (event) => {
      const input = typed(event);
      if (input?.max && within(input) !== input.valueAsNumber) event.stopImmediatePropagation();
    },
    true,
  );
  document.addEventListener(
    "change",
    (event) => {
      const input = typed(event);
      if (!input?.max || within(input) === input.valueAsNumber) return;
      const value = within(input);
      input.value = Number.isNaN(value) ? input.closest(".block").querySelector("[type=range]").value : value;
      input.dispatchEvent(new Event("input", { bubbles: true }));
    },
    true,
  );

  // A message may link to a suitable tab.
  document.addEventListener("click", ({ target }) => {
    const name = target.closest?.("[data-opens]")?.dataset.opens;
    const tab = name && document.querySelector(`#tabs [role=tab][data-tab-id="${name}"]`);
    tab?.click();
    tab?.focus();
  });

  // On a phone the examples are below the results once there is a photo. Tapping one scrolls up to
  // its results; keyboards and screen readers, whose clicks have no detail, stay where they are.
  document.addEventListener("click", ({ target, detail }) => {
    if (!detail || !target.closest?.("#examples") || !matchMedia("(max-width: 767px)").matches) return;
    const question = document.querySelector("#question");
    if (question.getBoundingClientRect().top < 0) question.scrollIntoView();
  });

  // Changes come in bursts: look once for all of them, before they are painted.
  let waiting = false;
  function mendSoon() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      mend();
    });
  }

  // Of all styles only the line's position and the hue matter; others change all the time.
  const matters = ({ attributeName, target }) =>
    attributeName !== "style" || target.matches("[data-testid=slider], .color-gradient");
  const observer = new MutationObserver((changes) => {
    if (changes.some(matters)) mendSoon();
  });
  observer.observe(document, {
    subtree: true,
    childList: true,
    attributeFilter: ["alt", "aria-label", "class", "aria-selected", "name", "role", "style"],
  });
  // A picture that finishes loading changes no attribute. Its event does not bubble, so it is
  // caught on its way down.
  document.addEventListener("load", mendSoon, true);
  window.addEventListener("resize", mendSoon);
  mend();
})();
