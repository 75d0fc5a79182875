import { PageHeader } from '../../components/PageHeader';
import { useT } from '../../i18n';

export default function Page() {
  const t = useT();
  return <PageHeader title={t('menu.overview')} />;
}
