import { Badge, Group, Stack, Text, Title } from '@mantine/core';
import { Marked } from '../../components';
import { useT } from '../../i18n';
import classes from './Api.module.css';
import { choicesOf, type Document, fieldsOf, type Operation, resolve, type Schema, typeOf } from './openapi';
import { TryForm } from './TryForm';

/** All about an operation, and a form to try it. */
export function OperationView({ doc, operation }: { doc: Document; operation: Operation }) {
  const t = useT();
  const { parameters, body } = operation;
  return (
    <Stack gap="md">
      {operation.description ? (
        <Text size="sm" className={classes.description}>
          <Marked text={operation.description} />
        </Text>
      ) : null}
      {parameters.length > 0 ? (
        <div>
          <Heading text={t('http.parameters')} />
          <div className={classes.box} tabIndex={0} role="group" aria-label={t('http.parameters')}>
            <table className={classes.table}>
              <thead>
                <tr>
                  <th scope="col">{t('http.name')}</th>
                  <th scope="col">{t('http.in')}</th>
                  <th scope="col">{t('http.type')}</th>
                  <th scope="col">{t('http.description')}</th>
                </tr>
              </thead>
              <tbody>
                {parameters.map((parameter) => (
                  <tr key={`${parameter.in} ${parameter.name}`}>
                    <td className={classes.mono}>
                      {parameter.name} {parameter.required ? <Required /> : null}
                    </td>
                    <td>{parameter.in === 'path' ? t('http.inPath') : t('http.inQuery')}</td>
                    <td className={classes.mono}>
                      {typeOf(doc, parameter.schema)} {bounds(parameter.schema)}
                    </td>
                    <td>
                      <Marked text={parameter.description ?? ''} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </div>
      ) : null}
      {body ? (
        <div>
          <Heading text={`${t('http.body')}: ${body.type}`} />
          <SchemaView doc={doc} schema={body.schema} label={t('http.body')} required />
        </div>
      ) : null}
      <TryForm doc={doc} operation={operation} />
      <div>
        <Heading text={t('http.answers')} />
        <Stack gap="xs">
          {operation.answers.map((answer) => (
            <div key={answer.status}>
              <Group gap="xs" align="baseline" wrap="nowrap">
                <Badge radius="sm" variant="light" color={answer.status.startsWith('2') ? 'teal' : 'gray'} style={{ flex: 'none' }}>
                  {answer.status}
                </Badge>
                <Text size="sm">
                  <Marked text={answer.description} />
                </Text>
              </Group>
              {answer.status.startsWith('2') && answer.schema ? (
                <div className={classes.answer}>
                  <SchemaView doc={doc} schema={answer.schema} label={t('http.answers')} />
                </div>
              ) : null}
            </div>
          ))}
        </Stack>
      </div>
    </Stack>
  );
}

function Heading({ text }: { text: string }) {
  return (
    <Title order={3} size="h6" mb={6}>
      {text}
    </Title>
  );
}

function Required() {
  const t = useT();
  return (
    <Text span size="xs" c="dimmed" ff="text">
      {t('http.required')}
    </Text>
  );
}

/** The bounds of a number, where there are some. */
function bounds(schema: Schema | undefined): string {
  if (schema?.minimum === undefined && schema?.maximum === undefined) return '';
  return `${schema.minimum ?? ''}…${schema.maximum ?? ''}`;
}

interface SchemaProps {
  doc: Document;
  schema: Schema | undefined;
  label: string;
  /** Say which fields have to be there: of a body, not of an answer. */
  required?: boolean;
}

/** The fields of a schema; of a choice, those of each. */
function SchemaView({ doc, schema, label, required = false }: SchemaProps) {
  const t = useT();
  const choices = choicesOf(doc, schema);
  if (choices.length > 0 && choices.length <= 4) {
    return (
      <Stack gap="xs">
        <Text size="sm">{t('http.oneOf')}</Text>
        {choices.map((choice, at) => (
          <SchemaView key={at} doc={doc} schema={choice} label={resolve(doc, choice).name || label} required={required} />
        ))}
      </Stack>
    );
  }
  const fields = fieldsOf(doc, schema);
  if (fields.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        {t('http.noFields', { type: typeOf(doc, schema) })}
      </Text>
    );
  }
  return (
    <div className={classes.box} tabIndex={0} role="group" aria-label={label}>
      <table className={classes.table}>
        <thead>
          <tr>
            <th scope="col">{t('http.name')}</th>
            <th scope="col">{t('http.type')}</th>
            <th scope="col">{t('http.description')}</th>
          </tr>
        </thead>
        <tbody>
          {fields.map((field, at) => (
            <tr key={at}>
              <td className={classes.mono} style={{ paddingLeft: 12 + field.depth * 16 }}>
                {field.name} {required && field.required ? <Required /> : null}
              </td>
              <td className={classes.mono}>{field.type}</td>
              <td>
                <Marked text={field.description} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
