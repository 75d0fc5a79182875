import type { Schemas } from '../../api/types';

export type PluginRow = Schemas['PluginSummary'];
export type PluginDetail = Schemas['Plugin'];
export type PluginConfig = Schemas['PluginConfig'];
export type Applied = Schemas['PluginConfigApplied'];

/** The plugin that brings these pages. */
export const OWN = 'emq_dashboard';
