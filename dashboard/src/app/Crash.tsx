import { Alert, Button, Group, Text } from '@mantine/core';
import { Component, type ReactNode } from 'react';
import { translate } from '../i18n';

interface State {
  error: Error | null;
}

/** Keeps the frame standing when a page fails, or when its file is gone after an upgrade of the broker. */
export class Crash extends Component<{ children: ReactNode }, State> {
  override state: State = { error: null };

  static getDerivedStateFromError(error: Error): State {
    return { error };
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <Alert color="red" variant="light" title={translate('frame.crashed')} role="alert">
        <Group justify="space-between">
          <Text size="sm">{error.message}</Text>
          <Button size="xs" color="red" variant="light" onClick={() => window.location.reload()}>
            {translate('frame.reload')}
          </Button>
        </Group>
      </Alert>
    );
  }
}
