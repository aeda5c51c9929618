//! Names of columns with stars in them, as `ignore_columns` writes them.

/// `schema.table.column` or `table.column`. A star stands for any characters of one part; a part in double quotes is taken
/// as it is, stars and dots with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnPattern {
    schema: Option<Part>,
    table: Part,
    column: Part,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    text: String,
    quoted: bool,
}

impl ColumnPattern {
    /// None when the text has other than two or three parts, or an empty one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = parts(text)?;
        let (column, table) = (parts.pop()?, parts.pop()?);
        let schema = parts.pop();
        parts.is_empty().then_some(Self { schema, table, column })
    }

    /// Whether it names this column.
    pub fn names(&self, schema: &str, table: &str, column: &str) -> bool {
        self.is_about(schema, table) && self.column.fits(column)
    }

    /// Whether it names every column of this table, whatever they are called.
    pub fn names_all_of(&self, schema: &str, table: &str) -> bool {
        self.is_about(schema, table) && !self.column.quoted && self.column.text == "*"
    }

    /// Whether it names some column of this table.
    pub fn is_about(&self, schema: &str, table: &str) -> bool {
        self.schema.as_ref().is_none_or(|s| s.fits(schema)) && self.table.fits(table)
    }
}

impl Part {
    fn fits(&self, name: &str) -> bool {
        if self.quoted || !self.text.contains('*') {
            return self.text == name;
        }
        let pieces: Vec<&str> = self.text.split('*').collect();
        let (first, last) = (pieces[0], pieces[pieces.len() - 1]);
        if name.len() < first.len() + last.len() || !name.starts_with(first) || !name.ends_with(last) {
            return false;
        }
        let mut rest = &name[first.len()..name.len() - last.len()];
        for piece in &pieces[1..pieces.len() - 1] {
            let Some(at) = rest.find(piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        true
    }
}

/// The parts between dots. Double quotes quote when they stand around a whole part; inside of it two stand for one.
fn parts(text: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, after) = match quoted(rest) {
            Some((name, after)) => (Part { text: name, quoted: true }, after),
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (Part { text: rest[..end].to_owned(), quoted: false }, &rest[end..])
            }
        };
        if part.text.is_empty() {
            return None;
        }
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None => return Some(parts),
        }
    }
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text.strip_prefix('"')?;
    loop {
        let end = rest.find('"')?;
        name += &rest[..end];
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                name.push('"');
                rest = next;
            }
            None => return (rest.is_empty() || rest.starts_with('.')).then_some((name, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ColumnPattern;

    fn names(pattern: &str, schema: &str, table: &str, column: &str) -> bool {
        ColumnPattern::parse(pattern).unwrap().names(schema, table, column)
    }

    #[test]
    fn stars_stand_for_any_characters_of_one_part() {
        assert!(names("staging_*.*", "public", "staging_7", "payload"));
        assert!(names("etl.*.*", "etl", "anything", "c"));
        assert!(names("*.log_*_old.b*y", "any", "log_1_2_old", "body"));
        assert!(!names("staging_*.*", "public", "my_staging_7", "payload"));
        assert!(!names("etl.*.*", "public", "etl", "c"));
        assert!(!names("a*a.c", "public", "a", "c"));
        assert!(!names("*ab*ab.c", "public", "ab", "c"));
    }

    #[test]
    fn quoted_parts_are_taken_as_they_are() {
        assert!(names("\"a.b\".\"*\"", "public", "a.b", "*"));
        assert!(!names("\"a.b\".\"*\"", "public", "a.b", "c"));
        assert!(names("main.\"say \"\"hi\"\"\".c", "main", "say \"hi\"", "c"));
        assert!(names("Odd \"Table\".c", "public", "Odd \"Table\"", "c"));
        assert!(!names("a.b.c", "public", "a.b", "c"));
    }

    #[test]
    fn what_has_not_two_or_three_parts_is_refused() {
        for text in ["x", "a.b.c.d", "a..c", ".b", "a.", "", "\"a.b\"", "a.\"\""] {
            assert_eq!(ColumnPattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_table_is_left_out_as_a_whole_by_a_star_for_its_columns() {
        let all = |text: &str| ColumnPattern::parse(text).unwrap().names_all_of("main", "emb");
        assert!(all("emb.*") && all("main.emb.*") && all("*.*"));
        assert!(!all("emb.e") && !all("emb.\"*\"") && !all("other.emb.*"));
    }
}
