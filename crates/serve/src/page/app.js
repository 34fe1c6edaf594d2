// The frame of the page: sections, languages, colours, models, the API key, and whether the server answers.

import { ApiError, call, hasKey, inWords, isConnected, isKey, onKeyNeeded, setKey } from './api.js';
import { byId, el, replace } from './dom.js';
import { preferredLanguage, remember, remembered, setLanguage, t } from './language.js';
import { startFile } from './file.js';
import { startLive } from './live.js';
import { startModel } from './model.js';
import { startTry } from './try.js';

const TABS = ['try', 'file', 'model', 'live'];
/** How often the server is asked whether it answers: calmly while it does, often while it does not. */
const CALM = 15_000;
const EAGER = 2_000;

const state = { models: [], model: null, tab: 'try' };

/** What the sections share. */
const page = {
  model: () => state.model,
  announce(text) {
    byId('announce').textContent = '';
    requestAnimationFrame(() => {
      byId('announce').textContent = text;
    });
  },
  /** An error as a notice, with a button to try again where that may help. */
  problem(error, again) {
    const { text, detail } = inWords(error);
    return el('div', { class: 'notice problem', role: 'alert' },
      el('p', {}, el('b', {}, t('error.title')), ' ', text),
      detail && el('p', { class: 'detail' }, detail),
      again && el('p', {}, el('button', { type: 'button', on: { click: again } }, t('error.again'))));
  },
  show(tab, { focus = false } = {}) {
    select(tab, focus);
  },
  isShown: (tab) => state.tab === tab && !document.hidden,
};

// Sections: tabs by the patterns of ARIA, which move with the arrow keys.

function select(tab, focus) {
  state.tab = tab;
  for (const name of TABS) {
    const button = byId(`tab-${name}`);
    button.setAttribute('aria-selected', String(name === tab));
    button.tabIndex = name === tab ? 0 : -1;
    byId(`panel-${name}`).hidden = name !== tab;
  }
  if (focus) byId(`tab-${tab}`).focus();
  if (location.hash !== `#${tab}`) history.replaceState(null, '', `#${tab}`);
  document.dispatchEvent(new CustomEvent('section', { detail: tab }));
}

function startTabs() {
  TABS.forEach((name, index) => {
    const button = byId(`tab-${name}`);
    button.addEventListener('click', () => select(name));
    button.addEventListener('keydown', (event) => {
      const places = { ArrowRight: index + 1, ArrowLeft: index - 1 + TABS.length, Home: 0, End: TABS.length - 1 };
      if (!(event.key in places) || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      select(TABS[places[event.key] % TABS.length], true);
    });
  });
  const wanted = () => {
    const name = location.hash.slice(1);
    if (TABS.includes(name)) select(name);
  };
  addEventListener('hashchange', wanted);
  wanted();
}

// Language and colours.

function startChoices() {
  const languageChoice = byId('language');
  languageChoice.addEventListener('change', () => setLanguage(languageChoice.value, { keep: true }));
  setLanguage(preferredLanguage());
  languageChoice.value = document.documentElement.lang;

  const themeChoice = byId('theme');
  const kept = remembered('gareum-theme');
  themeChoice.value = kept === 'light' || kept === 'dark' ? kept : 'auto';
  themeChoice.addEventListener('change', () => {
    remember('gareum-theme', themeChoice.value);
    if (themeChoice.value === 'auto') document.documentElement.removeAttribute('data-theme');
    else document.documentElement.setAttribute('data-theme', themeChoice.value);
    document.dispatchEvent(new CustomEvent('theme'));
  });
}

// The key.

function startKey() {
  const dialog = byId('key-dialog');
  const field = byId('key');
  let answer = () => {};
  onKeyNeeded((wrong) => new Promise((resolve) => {
    answer = resolve;
    byId('key-wrong').hidden = !wrong;
    field.value = '';
    dialog.showModal();
    field.focus();
  }));
  const close = (value) => {
    dialog.close();
    answer(value);
  };
  byId('key-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const given = field.value.trim();
    // What no header can carry is no key that a server knows.
    if (isKey(given)) close(given);
    else byId('key-wrong').hidden = false;
  });
  byId('key-cancel').addEventListener('click', () => close(null));
  dialog.addEventListener('cancel', (event) => {
    event.preventDefault();
    close(null);
  });
  const forget = byId('forget');
  const update = () => {
    forget.hidden = !hasKey();
  };
  document.addEventListener('key', update);
  update();
  forget.addEventListener('click', () => {
    setKey(null);
    page.announce(t('page.forgotten'));
    byId('main').focus();
  });
}

// Models and the connection.

function lamp(name) {
  byId('state').dataset.state = name;
  byId('state-text').dataset.t = `state.${name}`;
  byId('state-text').textContent = t(`state.${name}`);
}

function chooseModel(name) {
  state.model = state.models.find((model) => model.name === name) ?? state.models[0] ?? null;
  if (state.model) {
    byId('model').value = state.model.name;
    remember('gareum-model', state.model.name);
  }
  document.dispatchEvent(new CustomEvent('model'));
}

let modelsError = null;
let loaded = 0;
/** A server may read its models again while the page is open: what is older than this is asked for again when somebody looks at it. */
const STALE = 20_000;

async function loadModels({ ask = true } = {}) {
  loaded = performance.now();
  try {
    const answer = await call('models', { ask, timeout: 20_000 });
    if (!Array.isArray(answer?.models)) throw new ApiError('answer');
    modelsError = null;
    const before = JSON.stringify(state.models);
    state.models = answer.models;
    if (JSON.stringify(state.models) !== before || !state.model) {
      const picker = byId('model');
      replace(picker, state.models.map((model) => el('option', { value: model.name }, model.name)));
      byId('model-choice').hidden = state.models.length === 0;
      const kept = remembered('gareum-model');
      const wanted = [state.model?.name, kept, answer.default].find((name) => state.models.some((model) => model.name === name));
      chooseModel(wanted);
    }
    lamp('ready');
  } catch (error) {
    modelsError = error;
    if (error.status === 503) lamp('loading');
    else if (error.kind === 'offline') lamp('offline');
    document.dispatchEvent(new CustomEvent('model'));
  }
}

/** Asks again and again whether the server answers; a page that nobody looks at asks nothing. */
function startWatch() {
  let timer = 0;
  const plan = () => {
    clearTimeout(timer);
    timer = setTimeout(watch, isConnected() && !modelsError ? CALM : EAGER);
  };
  async function watch() {
    if (!document.hidden && !byId('key-dialog').open) {
      try {
        await call('ready', { ask: false, timeout: 10_000 });
        lamp('ready');
        if (modelsError && modelsError.status !== 401) await loadModels({ ask: false });
      } catch (error) {
        if (error.status === 503) lamp('loading');
        else if (error.kind === 'answer' || error.status === 404 || error.status === 401) lamp('ready');
        else if (error.kind === 'offline' || error.kind === 'timeout') lamp('offline');
      }
    }
    plan();
  }
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) watch();
  });
  addEventListener('online', watch);
  addEventListener('offline', watch);
  let over = 0;
  const banner = byId('offline');
  document.addEventListener('connection', ({ detail: connected }) => {
    clearTimeout(over);
    banner.hidden = false;
    banner.dataset.state = connected ? 'over' : 'now';
    banner.textContent = t(connected ? 'offline.over' : 'offline.now');
    if (connected) {
      over = setTimeout(() => {
        banner.hidden = true;
      }, 4000);
      loadModels({ ask: false });
    } else {
      lamp('offline');
    }
    plan();
  });
  document.addEventListener('language', () => {
    if (!banner.hidden) banner.textContent = t(banner.dataset.state === 'over' ? 'offline.over' : 'offline.now');
  });
  plan();
}

page.modelsError = () => modelsError;
page.loadModels = loadModels;

startChoices();
startKey();
startTry(page);
startFile(page);
startModel(page);
startLive(page);
startTabs();
document.addEventListener('section', ({ detail: tab }) => {
  if (tab === 'model' && performance.now() - loaded > STALE) loadModels({ ask: false });
});
byId('model').addEventListener('change', (event) => chooseModel(event.target.value));
loadModels().finally(startWatch);
