//! Keys made from columns: `{carrier}/{flight}`.

use crate::exit::Failure;

/// A template: text with the names of columns in braces; `{{` and `}}` stand for braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyTemplate {
    parts: Vec<Part<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part<C> {
    Text(String),
    Column(C),
}

/// A template whose columns are known by their positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BoundTemplate {
    parts: Vec<Part<(usize, String)>>,
}

impl KeyTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// [`Failure`] if a brace is not closed, a name is empty, or no column is named: all
    /// rows would have the same key.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let refuse = |reason: &str| {
            Failure::usage(format!(
                "--key {text:?}: {reason}; write columns in braces, such as \
                 '{{carrier}}/{{flight}}'"
            ))
        };
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text.chars().peekable();
        while let Some(char) = rest.next() {
            match char {
                '{' | '}' if rest.peek() == Some(&char) => {
                    rest.next();
                    literal.push(char);
                }
                '{' => {
                    let mut name = String::new();
                    loop {
                        match rest.next() {
                            Some('}') => break,
                            Some(char) => name.push(char),
                            None => return Err(refuse("a brace is not closed")),
                        }
                    }
                    if name.is_empty() {
                        return Err(refuse("a column has no name"));
                    }
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Column(name));
                }
                '}' => return Err(refuse("a brace is closed that was not opened")),
                other => literal.push(other),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        if !parts.iter().any(|part| matches!(part, Part::Column(_))) {
            return Err(refuse("it names no column, so all rows would have the same key"));
        }
        Ok(Self { parts })
    }

    /// Finds the columns' positions.
    ///
    /// # Errors
    /// [`Failure`] naming the column that is not there and those that are.
    pub(crate) fn bind(&self, columns: &[String]) -> Result<BoundTemplate, Failure> {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => Ok(Part::Text(text.clone())),
            Part::Column(name) => {
                let index = columns.iter().position(|column| column == name).ok_or_else(|| {
                    Failure::fix(format!(
                        "--key names the column {name:?}, and the file has none of that name; \
                         its columns are {}; nothing was written",
                        columns.join(", ")
                    ))
                })?;
                Ok(Part::Column((index, name.clone())))
            }
        });
        Ok(BoundTemplate { parts: parts.collect::<Result<_, _>>()? })
    }
}

impl BoundTemplate {
    /// The key of a row; `field` gives a column's text, or `None` where it is missing.
    ///
    /// # Errors
    /// The name of the column that the row lacks.
    pub(crate) fn render<T: AsRef<str>>(
        &self,
        field: impl Fn(usize) -> Option<T>,
    ) -> Result<String, String> {
        let mut key = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => key.push_str(text),
                Part::Column((index, name)) => match field(*index) {
                    Some(text) => key.push_str(text.as_ref()),
                    None => return Err(format!("{name}, a part of the key, is missing")),
                },
            }
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<String> {
        ["a", "b c"].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_template_puts_columns_between_text() {
        for (template, key) in
            [("{a}", "1"), ("{a}/{b c}", "1/2"), ("x{{{a}}}-{a}", "x{1}-1"), ("ü{b c}ü", "ü2ü")]
        {
            let bound = KeyTemplate::parse(template).expect(template).bind(&columns());
            let rendered = bound.expect(template).render(|index| ["1", "2"].get(index).copied());
            assert_eq!(rendered.as_deref(), Ok(key), "{template}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for template in ["", "text", "{a", "a}", "{}", "{{a}}"] {
            assert!(KeyTemplate::parse(template).is_err(), "{template}");
        }
    }

    #[test]
    fn a_column_that_is_not_there_is_named_with_those_that_are() {
        let template = KeyTemplate::parse("{a}/{d}").expect("valid");
        let message = template.bind(&columns()).expect_err("no d").to_string();
        assert!(message.contains("\"d\"") && message.contains("a, b c"), "{message}");
    }

    #[test]
    fn a_missing_part_of_the_key_is_named() {
        let bound = KeyTemplate::parse("{a}").expect("valid").bind(&columns()).expect("bound");
        let reason = bound.render(|_| None::<&str>).expect_err("missing");
        assert!(reason.starts_with("a, a part"), "{reason}");
    }
}
