export { confirm } from './confirm';
export { CopyButton } from './CopyButton';
export { ErrorNote } from './ErrorNote';
export { bytes, clock, count, dateTime, duration, moment, short } from './format';
export { LocalTable } from './LocalTable';
export { PageHeader } from './PageHeader';
export { SearchTable } from './SearchTable';
export type { Column } from './table';
export { TimeText } from './TimeText';
