// The form under "This is wrong".
//
// Gradio runs this once for each tab that has one (`js_on_load` of gr.HTML) with `element`, which
// holds what feedback.py draws, `props`, whose value the server gets, and `trigger`, which calls it.

const find = (selector) => element.querySelector(selector);
let asking = null; // the step whose answer the visitor waits for: "open", "send" or "close"
let shown; // the form's data-shown: what the visitor has before them

function ask(value) {
  asking = value.step;
  props.value = value;
  trigger("submit");
}

/** The form's own values; the pet's number where there is one. */
function asked(form, step) {
  const { photo, shown, pet } = form.dataset;
  const breed = form.querySelector("select")?.value ?? "";
  return { step, photo, shown, breed, ...(pet && { pet: Number(pet) }) };
}

// On the Pets tab, the buttons are in the pets' cards.
document.addEventListener("click", ({ target }) => {
  const button = target.closest?.(".feedback-open");
  const pets = element.closest("#feedback-pets");
  if (!button || !(pets ? button.closest("#pets") : element.contains(button))) return;
  const { pet } = button.dataset;
  ask({ step: "open", ...(pet && { pet: Number(pet) }) });
});

element.addEventListener("click", ({ target }) => {
  const form = find(".feedback-form");
  if (!form) return;
  if (target.closest(".feedback-close")) ask({ step: "close" });
  const send = target.closest(".feedback-send");
  if (!send || !form.querySelector("[type=checkbox]").checked) return;
  send.disabled = true; // once is enough
  ask({ ...asked(form, "send"), agreed: true });
});

element.addEventListener("change", ({ target }) => {
  const form = find(".feedback-form");
  if (target.matches("[type=checkbox]")) find(".feedback-send").disabled = !target.checked;
  else if (form) props.value = asked(form, "open"); // so that the choice outlives a correction
});

/** What answers the visitor's last click, once it is there: the focus goes to it. */
function answer() {
  if (asking === "open") return find(".feedback-form h2");
  if (asking === "send") return find(".feedback-form .notice-text, .feedback-kept");
  return find(".feedback-open");
}

/** The agreement was to what was before the visitor then. */
function agreeAnew(form) {
  form.querySelector("[type=checkbox]").checked = false;
  form.querySelector(".feedback-send").disabled = true;
}

/** Take over what the server has drawn. Gradio changes the elements in place. */
function read() {
  const form = find(".feedback-form");
  if (form && form.dataset.shown !== shown) {
    agreeAnew(form);
    props.value = asked(form, "open"); // it stays open when the mask is corrected
  }
  shown = form?.dataset.shown;
  const found = asking && answer();
  if (!found) return;
  if (form && asking === "send") agreeAnew(form);
  asking = null;
  found.setAttribute("tabindex", "-1");
  found.focus({ preventScroll: true });
  found.scrollIntoView({ block: "nearest" });
}

new MutationObserver(read).observe(element, {
  subtree: true,
  childList: true,
  attributeFilter: ["data-shown"],
});
