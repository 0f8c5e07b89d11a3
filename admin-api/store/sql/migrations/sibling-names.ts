/**
 * Makes the names of groups unique among siblings. The oldest keeps its name, the others get a suffix:
 * ` (2)`, or their id where that is taken. Every new name is in the audit trail.
 */
interface DialectWords {
  /** Milliseconds since the Unix epoch. */
  now: string;
  /** JSON text of the members `name` and `before`. */
  detail: string;
}

/** Longest name of a group. */
const NAME_MAX = 128;

export function siblingNames({ now, detail }: DialectWords): readonly string[] {
  return [
    `create table groups_before as select id, name from groups`,
    suffixed(`' (' || place || ')'`),
    // Twice: a name with an id may be taken as well, though nobody but an adversary would take it.
    suffixed(`' (' || id || ')'`),
    suffixed(`' (' || id || ')'`),
    `insert into audit (at, actor, action, subject, detail_json)
      select ${now}, 'system', 'group.renamed', g.id, ${detail}
      from groups g join groups_before b on b.id = g.id where g.name <> b.name order by g.id`,
    `drop table groups_before`,
    `drop index groups_parent`,
    `create unique index groups_sibling_names on groups (parent_id, name)`,
  ];
}

function suffixed(suffix: string): string {
  return `update groups
    set name = substr(name, 1, ${NAME_MAX} - length(s.suffix)) || s.suffix, search = search || lower(s.suffix)
    from (select id as twin, place, ${suffix} as suffix from (
      select id, row_number() over (partition by parent_id, name order by created_at, id) as place from groups
    ) as ranked where place > 1) as s
    where groups.id = s.twin`;
}
