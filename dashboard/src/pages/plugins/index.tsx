import type { PageProps } from '../../app/pages';
import { PluginList } from './PluginList';
import { PluginPage } from './PluginPage';

export default function Plugins({ params }: PageProps) {
  return params.name ? <PluginPage key={params.name} name={params.name} /> : <PluginList />;
}
