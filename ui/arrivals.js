// What Gradio's photo input lacks: photos can be dropped anywhere on the page, and a message says why
// a camera or a clipboard cannot be used.
//
// The page loads this once, in its head (see theme.py), with its sentences in `arrivals`.

(() => {
  if (window.arriving) return; // a page that the server rendered may bring the script twice
  window.arriving = true;

  function tell(reason) {
    const box = document.querySelector("#arrival .prose, #arrival .html-container, #arrival");
    if (!box) return;
    const alert = document.createElement("div");
    Object.assign(alert, { className: "notice-text wrong", textContent: window.arrivals[reason] });
    alert.setAttribute("role", "alert");
    box.replaceChildren(...(reason ? [alert] : []));
  }
  const forget = ({ target }) => target.closest?.("#question, #examples") && tell("");
  document.addEventListener("click", forget, true);
  document.addEventListener("change", forget, true);

  /** Replace a function of the browser's, which may be missing where the page has no HTTPS. */
  function replace(owner, name, missing, make) {
    if (!navigator[owner]) Object.defineProperty(navigator, owner, { value: missing });
    const original = navigator[owner][name]?.bind(navigator[owner]);
    navigator[owner][name] = make(original);
  }

  const reasons = { NotAllowedError: "camera_denied", NotFoundError: "camera_missing" };
  replace("mediaDevices", "getUserMedia", { enumerateDevices: async () => [] }, (open) => async (wanted) => {
    try {
      return await open(wanted);
    } catch (error) {
      tell(open ? (reasons[error.name] ?? "camera_failed") : "camera_insecure");
      return new Promise(() => {}); // Gradio keeps waiting, and asks again on the next click
    }
  });
  replace("clipboard", "read", {}, (read) => async () => {
    let items = [];
    try {
      items = await read();
    } catch {
      tell("paste_denied");
      return items;
    }
    const isPicture = (type) => type.startsWith("image/");
    if (!items.some(({ types }) => types.some(isPicture))) tell("paste_empty");
    return items;
  });

  // Photos dropped outside the drop zones. The album's takes several.
  const PLACES = "#photo, #album-files, #ground-picture";
  const isStray = ({ target, dataTransfer }) =>
    dataTransfer?.types.includes("Files") && !target.closest?.(PLACES);
  document.addEventListener("dragover", (event) => {
    if (!isStray(event)) return;
    event.preventDefault(); // or the browser would leave the page and show the file
    event.dataTransfer.dropEffect = "copy";
  });
  document.addEventListener("drop", (event) => {
    if (!isStray(event)) return;
    event.preventDefault();
    const many = document.querySelector("#tab-album")?.checkVisibility() ?? false;
    const input = document.querySelector(`${many ? "#album-files" : "#photo"} input[type=file]`);
    const files = new DataTransfer();
    const pictures = [...event.dataTransfer.files];
    for (const file of many ? pictures : pictures.slice(0, 1)) files.items.add(file);
    if (!input || !files.items.length) return;
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
})();
