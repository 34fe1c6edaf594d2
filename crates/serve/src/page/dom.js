// Elements are only ever made here, from text: nothing that comes from outside is read as markup.

/** An element with attributes and children; strings become text. `on` holds listeners, `class` and `data-*` are attributes like others. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

const SVG = 'http://www.w3.org/2000/svg';

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'on') for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** Puts `children` in the place of what is in `parent`. */
export function replace(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
}

/** A name of many words joined by `_`, `/` or `.`, which may break after them. */
export function breakable(name) {
  const parts = String(name).split(/(?<=[_/.])/u);
  return parts.flatMap((part, index) => (index ? [el('wbr'), part] : [part]));
}

export const byId = (id) => document.getElementById(id);
