// What the reader chose; kept in localStorage.

export interface Parameters {
  // null: the model's own value
  temperature: number | null;
  top_p: number | null;
  top_k: number | null;
  repetition_penalty: number | null;
  max_tokens: number | null;
  seed: number | null;
}

export interface SettingsData {
  language: 'auto' | 'en' | 'zh';
  theme: 'auto' | 'light' | 'dark';
  apiKey: string;
  model: string; // empty: the server's first
  system: string;
  tools: string; // JSON: the API's array of function definitions, or empty
  thinking: boolean;
  drafts: boolean;
  parameters: Parameters;
}

export function defaultParameters(): Parameters {
  return { temperature: null, top_p: null, top_k: null, repetition_penalty: null, max_tokens: null, seed: null };
}

const STORE = 'glimpse.settings';

function load(): SettingsData {
  const defaults: SettingsData = {
    language: 'auto',
    theme: 'auto',
    apiKey: '',
    model: '',
    system: '',
    tools: '',
    thinking: false,
    drafts: true,
    parameters: defaultParameters(),
  };
  try {
    const stored = JSON.parse(localStorage.getItem(STORE) ?? '{}') as Partial<SettingsData>;
    return { ...defaults, ...stored, parameters: { ...defaults.parameters, ...stored.parameters } };
  } catch {
    return defaults; // no storage, or not ours
  }
}

export const settings: SettingsData = $state(load());

// To be called inside an effect: writes whatever changed.
export function saveSettings(): void {
  const text = JSON.stringify(settings);
  try {
    localStorage.setItem(STORE, text);
  } catch {
    // private mode: the choice lasts as long as the page
  }
}
