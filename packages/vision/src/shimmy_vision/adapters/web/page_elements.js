// Visible interactive elements of a page with everything that can be read of them, as plain values.
// Runs in a world of its own: the page's scripts can change the document, not these functions.
// Properties of nodes are read through their prototypes: in a form, a field named "parentNode"
// would otherwise be taken for the parent.
(order) => {
  const getter = (kind, name) => {
    const get = Object.getOwnPropertyDescriptor(kind.prototype, name).get;
    return (node) => get.call(node);
  };
  const method = (kind, name) => {
    const call = kind.prototype[name];
    return (node, ...given) => call.apply(node, given);
  };
  const parentOf = getter(Node, "parentNode");
  const childrenOf = getter(Element, "children");
  const nameOf = getter(Element, "localName");
  const namespaceOf = getter(Element, "namespaceURI");
  const shadowOf = getter(Element, "shadowRoot");
  const slotOf = getter(Element, "assignedSlot");
  const attributesOf = getter(Element, "attributes");
  const roleOf = getter(Element, "computedRole");
  const labelOf = getter(Element, "computedName");
  const contentOf = getter(HTMLIFrameElement, "contentDocument");
  const attribute = method(Element, "getAttribute");
  const matches = method(Element, "matches");
  const rectOf = method(Element, "getBoundingClientRect");
  const isVisible = method(Element, "checkVisibility");
  const typeOf = getter(Node, "nodeType");
  const documentOf = getter(Node, "ownerDocument");
  const pageRootOf = getter(Document, "documentElement");
  const bodyOf = getter(Document, "body");
  const innerTextOf = getter(HTMLElement, "innerText");
  const tabIndexes = [HTMLElement, SVGElement].map((kind) => getter(kind, "tabIndex"));
  const tops = [Document, DocumentFragment].map((kind) => getter(kind, "children"));
  const isHtml = (element) => namespaceOf(element) === "http://www.w3.org/1999/xhtml";
  const finders = [Document, DocumentFragment].map((kind) => method(kind, "querySelectorAll"));
  const findAll = (root, selector) => finders[typeOf(root) === 9 ? 0 : 1](root, selector);

  const roles = [
    "button", "link", "checkbox", "radio", "switch", "tab", "menuitem", "menuitemcheckbox",
    "menuitemradio", "option", "slider", "spinbutton", "textbox", "searchbox", "combobox",
    "treeitem",
  ];
  const interactive = [
    "a[href]", "area[href]", "button", "input:not([type=hidden i])", "select", "textarea",
    "summary", "audio[controls]", "video[controls]", "label", "[tabindex]", "[onclick]",
    "[contenteditable]:not([contenteditable=false i])",
    ...roles.map((role) => `[role~=${role}]`),
  ].join(",");
  const plainAttributes = new Set([
    "type", "name", "placeholder", "alt", "title", "disabled", "checked",
  ]);
  const testAttributes = ["data-testid", "data-test-id", "data-test", "data-qa", "data-cy"];
  // Made anew by the page's framework at each visit, so of no use to find the element again.
  const unstable = /[0-9]{3,}|^[:_\u00ab]|:$|[0-9a-f]{8,}|^(?:ember|radix|react|mui|headlessui)-?/i;

  const notes = { others: 0, cut: false, unnamed: 0 };
  const found = [];
  let nodes = 0;

  // ---- colours -------------------------------------------------------------------------------
  const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const colours = new Map();
  const colourOf = (text) => {
    if (!colours.has(text)) colours.set(text, readColour(text));
    return colours.get(text);
  };
  const readColour = (text) => {
    const plain = /^rgba?\((\d+), (\d+), (\d+)(?:, ([\d.]+))?\)$/.exec(text);
    if (plain) return [+plain[1], +plain[2], +plain[3], plain[4] === undefined ? 1 : +plain[4]];
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = text;
    pen.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };

  // ---- styles and the flat tree, remembered, as most elements share their ancestors -------------
  const styles = new Map();
  const styleOf = (element) => {
    if (!styles.has(element)) styles.set(element, readStyle(element));
    return styles.get(element);
  };
  const readStyle = (element) => {
    const style = getComputedStyle(element);
    const clips = style.overflowX !== "visible" || style.overflowY !== "visible";
    return {
      position: style.position,
      font: [parseFloat(style.fontSize), Number(style.fontWeight)],
      clips: clips && style.display !== "inline" && style.display !== "contents",
      layer: {
        background: colourOf(style.backgroundColor),
        opacity: Number(style.opacity),
        image: style.backgroundImage !== "none" || style.backgroundClip.includes("text"),
      },
    };
  };
  const outside = (element) => {
    const slot = slotOf(element);
    if (slot) return slot;
    const parent = parentOf(element);
    if (!parent) return null;
    if (typeOf(parent) === 1) return parent;
    return typeOf(parent) === 11 ? parent.host ?? null : null;
  };

  const layersOf = (element, view) => {
    const layers = [];
    for (let here = element, seen = view; here; ) {
      const { layer } = styleOf(here);
      if (layer.image || layer.background[3] > 0 || layer.opacity < 1) layers.push(layer);
      here = outside(here);
      if (!here && seen.frame) {
        here = seen.frame;
        seen = seen.outer;
      }
    }
    return layers;
  };

  // ---- where it is seen ---------------------------------------------------------------------------
  const meet = (a, b) => ({
    left: Math.max(a.left, b.left),
    top: Math.max(a.top, b.top),
    right: Math.min(a.right, b.right),
    bottom: Math.min(a.bottom, b.bottom),
  });
  const placed = (rect, view) => ({
    left: rect.left * view.scaleX + view.left,
    top: rect.top * view.scaleY + view.top,
    right: rect.right * view.scaleX + view.left,
    bottom: rect.bottom * view.scaleY + view.top,
  });
  const seenBox = (element, view) => {
    let box = placed(rectOf(element), view);
    let { position } = styleOf(element);
    for (let here = outside(element); here && position !== "fixed"; here = outside(here)) {
      const style = styleOf(here);
      // What is positioned is clipped only by what it is positioned in.
      if (position === "absolute" && style.position === "static") continue;
      if (style.clips && !view.ends.has(here)) box = meet(box, placed(rectOf(here), view));
      position = style.position;
    }
    return meet(box, view.clip);
  };

  // ---- selectors -------------------------------------------------------------------------------
  const quoted = (text) =>
    `"${text.replace(/["\\]/g, "\\$&").replace(/[\n\r\f]/g, (c) => `\\${c.charCodeAt(0).toString(16)} `)}"`;
  const isUnique = (selector, element, root) => {
    const hits = findAll(root, selector);
    return hits.length === 1 && hits[0] === element;
  };
  const anchors = (element) => {
    const kind = CSS.escape(nameOf(element));
    const made = [];
    const id = attribute(element, "id");
    if (id && !unstable.test(id)) made.push(`#${CSS.escape(id)}`);
    const add = (name, value, prefix) => {
      if (value && value.length <= 80) made.push(`${prefix}[${name}=${quoted(value)}]`);
    };
    for (const name of testAttributes) add(name, attribute(element, name), "");
    add("aria-label", attribute(element, "aria-label"), kind);
    const name = attribute(element, "name");
    add("name", name, kind);
    const value = attribute(element, "value");
    if (name && value && value.length <= 80 && name.length <= 80)
      made.push(`${kind}[name=${quoted(name)}][value=${quoted(value)}]`);
    return made;
  };
  // Counted once for all children of a parent: they may be thousands.
  const places = new Map();
  const placeOf = (element) => {
    if (!places.has(element)) countChildren(parentOf(element));
    return places.get(element);
  };
  const countChildren = (parent) => {
    const counts = new Map();
    for (const child of { 1: childrenOf, 9: tops[0], 11: tops[1] }[typeOf(parent)](parent)) {
      const kind = `${namespaceOf(child)} ${nameOf(child)}`;
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
      places.set(child, counts.get(kind));
    }
  };
  const step = (element) => `${CSS.escape(nameOf(element))}:nth-of-type(${placeOf(element)})`;
  const anchorsFound = new Map();
  const anchorOf = (element, root) => {
    if (!anchorsFound.has(element))
      anchorsFound.set(element, anchors(element).find((one) => isUnique(one, element, root)));
    return anchorsFound.get(element);
  };
  const selectorOf = (element, root) => {
    const own = anchorOf(element, root);
    if (own) return own;
    let path = "";
    for (let here = element; here && here !== root; here = parentOf(here)) {
      const anchor = here === element ? null : anchorOf(here, root);
      const anchored = anchor && `${anchor} > ${path}`;
      if (anchored && isUnique(anchored, element, root)) return anchored;
      path = path ? `${step(here)} > ${path}` : step(here);
      if (isUnique(path, element, root)) return path;
    }
    return null;
  };

  // ---- one element -------------------------------------------------------------------------------
  const withoutQuery = (element) => {
    const href = attribute(element, "href");
    if (href === null) return null;
    try {
      const url = new URL(href, documentOf(element).baseURI);
      return /^https?:$/.test(url.protocol) ? url.origin + url.pathname : url.protocol;
    } catch {
      return "";
    }
  };
  const attributesKept = (element) => {
    const kept = {};
    for (const { name, value } of attributesOf(element))
      if (plainAttributes.has(name) || name.startsWith("aria-")) kept[name] = value.slice(0, 400);
    const href = withoutQuery(element);
    if (href !== null) kept.href = href;
    return kept;
  };
  const textOf = (element) => {
    const kind = nameOf(element);
    if (kind === "select") return [...element.selectedOptions].map((one) => one.text).join(", ");
    if (kind === "input") {
      const unread = ["password", "checkbox", "radio", "file", "range", "color", "image"];
      return unread.includes(element.type) ? "" : element.value;
    }
    if (kind === "textarea") return element.value;
    return isHtml(element) ? innerTextOf(element) : element.textContent;
  };
  const inkOf = (element) => {
    const empty = ["input", "textarea"].includes(nameOf(element)) && !element.value;
    const hint = empty && attribute(element, "placeholder");
    return colourOf(getComputedStyle(element, hint ? "::placeholder" : null).webkitTextFillColor);
  };
  const withoutTabindex = interactive.replace("[tabindex],", "");
  const isInteractive = (element) => {
    if (!matches(element, interactive) || matches(element, "html, body, [inert], [inert] *"))
      return false;
    if (nameOf(element) === "label")
      // A label counts where it stands in for a field that is itself not to be seen.
      return Boolean(element.control) && !isSeen(element.control);
    if (matches(element, withoutTabindex)) return true;
    return tabIndexes[isHtml(element) ? 0 : 1](element) >= 0;
  };
  const isSeen = (element) => isVisible(element, { opacityProperty: true, visibilityProperty: true });
  const report = (element, root, view) => {
    const box = seenBox(element, view);
    if (box.right - box.left < 2 || box.bottom - box.top < 2) return;
    const selector = selectorOf(element, root);
    if (!selector) {
      notes.unnamed += 1;
      return;
    }
    const scale = order.deviceScale;
    found.push({
      tag: nameOf(element),
      role: roleOf(element),
      name: labelOf(element).slice(0, 4000),
      text: String(textOf(element) ?? "").slice(0, 4000),
      selector,
      roots: view.roots,
      box: [box.left, box.top, box.right, box.bottom].map((side) => side * scale),
      attributes: attributesKept(element),
      colour: inkOf(element),
      font: styleOf(element).font,
      layers: layersOf(element, view),
      canvas,
    });
  };

  // ---- the walk ----------------------------------------------------------------------------------
  const into = (element, root, view, kind) => {
    const selector = selectorOf(element, root);
    if (!selector || view.roots.length >= order.deepest) {
      notes.unnamed += 1;
      return null;
    }
    return [...view.roots, { kind, selector }];
  };
  const enterFrame = (element, root, view) => {
    let content = null;
    try {
      content = contentOf(element);
    } catch {}
    if (!isSeen(element)) return;
    if (!content || !pageRootOf(content)) {
      notes.others += 1;
      return;
    }
    const roots = into(element, root, view, "frame");
    if (!roots) return;
    const rect = rectOf(element);
    const style = getComputedStyle(element);
    const scaleX = (element.offsetWidth ? rect.width / element.offsetWidth : 1) * view.scaleX;
    const scaleY = (element.offsetHeight ? rect.height / element.offsetHeight : 1) * view.scaleY;
    const left = element.clientLeft + parseFloat(style.paddingLeft);
    const top = element.clientTop + parseFloat(style.paddingTop);
    walk(content, {
      roots,
      frame: element,
      outer: view,
      left: rect.left * view.scaleX + view.left + left * scaleX,
      top: rect.top * view.scaleY + view.top + top * scaleY,
      scaleX,
      scaleY,
      clip: seenBox(element, view),
      ends: new Set([pageRootOf(content), bodyOf(content)]),
    });
  };
  const walk = (root, view) => {
    for (const element of findAll(root, "*")) {
      nodes += 1;
      if (nodes > order.mostNodes || found.length >= order.mostElements) {
        notes.cut = true;
        return;
      }
      if (isInteractive(element) && isSeen(element)) report(element, root, view);
      const shadow = shadowOf(element);
      if (shadow) {
        const roots = into(element, root, view, "shadow");
        if (roots) walk(shadow, { ...view, roots });
      }
      if (nameOf(element) === "iframe" && isHtml(element)) enterFrame(element, root, view);
    }
  };

  const scheme = getComputedStyle(pageRootOf(document)).colorScheme;
  const isDark = scheme.includes("dark") && !scheme.includes("light");
  const canvas = isDark ? [18, 18, 18, 1] : [255, 255, 255, 1];
  // What the viewport does not clip, a full page shows: so boxes count from the page's own corner.
  const [left, top] = order.fullPage ? [scrollX, scrollY] : [0, 0];
  walk(document, {
    roots: [],
    frame: null,
    outer: null,
    left,
    top,
    scaleX: 1,
    scaleY: 1,
    clip: { left: 0, top: 0, right: order.width, bottom: order.height },
    ends: new Set([pageRootOf(document), bodyOf(document)]),
  });
  return { elements: found, notes };
}
