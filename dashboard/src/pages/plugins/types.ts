import type { PluginKey } from './form';

export interface PluginRow {
  name: string;
  version: string;
  description: string;
  active: boolean;
}

export interface PluginDetail extends PluginRow {
  /** Names and values. */
  facts: string[][];
}

export interface PluginConfig {
  keys: PluginKey[];
  file: string;
}

export interface Applied {
  applied: 'live' | 'restarted' | 'kept';
  lines: string;
}

/** The plugin that brings these pages. */
export const OWN = 'emq_dashboard';
