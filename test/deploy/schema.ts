import * as client from '@kubernetes/client-node';
import { messageOf } from '../../src/model/text.ts';
import type { KubeObject } from '../lab/api/objects.ts';

type Attribute = { readonly name: string; readonly baseName: string; readonly type: string };
type Described = { readonly getAttributeTypeMap: () => readonly Attribute[] };

/**
 * What in an object Kubernetes would not take: fields that its type does not have (from the models that the client library
 * generates from Kubernetes' OpenAPI document), and values that are missing or of a wrong kind (from its JSON schemas).
 */
export async function schemaProblems(object: KubeObject): Promise<readonly string[]> {
  const [group = '', version = ''] = object.apiVersion.includes('/') ? object.apiVersion.split('/') : ['', object.apiVersion];
  const described = describedBy(`${version.slice(0, 1).toUpperCase()}${version.slice(1)}${object.kind}`);
  if (described === null) return [`${object.apiVersion} ${object.kind} is no kind of Kubernetes'`];
  const unknown = unknownFields(object, described, '');
  try {
    const path = group === '' ? version : `${group}/${version}`;
    const module = (await import(`kubernetes-models/${path}/${object.kind}`)) as Record<
      string,
      new (
        data: object,
      ) => { readonly validate: () => void }
    >;
    const Kind = module[object.kind];
    if (Kind === undefined) return [`there is no schema of ${path} ${object.kind}`];
    new Kind(object).validate();
    return unknown;
  } catch (error) {
    return [...unknown, messageOf(error)];
  }
}

function describedBy(name: string): Described | null {
  const found: unknown = (client as Record<string, unknown>)[name];
  return typeof found === 'function' && 'getAttributeTypeMap' in found ? (found as unknown as Described) : null;
}

function unknownFields(value: unknown, { getAttributeTypeMap }: Described, at: string): readonly string[] {
  if (typeof value !== 'object' || value === null) return [];
  const attributes = getAttributeTypeMap();
  return Object.entries(value).flatMap(([key, inner]) => {
    const attribute = attributes.find(({ baseName }) => baseName === key);
    if (attribute === undefined) return [`${at}.${key} is not known`];
    const [, one = attribute.type] = /^Array<(.+)>$/.exec(attribute.type) ?? [];
    const described = describedBy(one);
    if (described === null) return [];
    if (!Array.isArray(inner)) return unknownFields(inner, described, `${at}.${key}`);
    return inner.flatMap((item, index) => unknownFields(item, described, `${at}.${key}[${index}]`));
  });
}
