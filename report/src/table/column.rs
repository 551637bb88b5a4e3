//! A column of a table: its names, its titles, its cells, and how it differs between the forms of a report.

use std::borrow::Cow;

use super::Form;
use super::value::Value;
use crate::fixed::{Euros, Fixed, Percent};
use crate::lang::Lang;

/// The title of a column.
#[derive(Debug, Clone)]
pub struct Title {
    fr: Cow<'static, str>,
    en: Cow<'static, str>,
}

impl Title {
    /// The title in this language.
    pub fn say(&self, lang: Lang) -> &str {
        lang.say(&self.fr, &self.en)
    }
}

impl From<[&'static str; 2]> for Title {
    /// A title in French and in English.
    fn from([fr, en]: [&'static str; 2]) -> Self {
        let (fr, en) = (fr.into(), en.into());
        Self { fr, en }
    }
}

impl From<&'static str> for Title {
    /// A title that is the same in both languages.
    fn from(title: &'static str) -> Self {
        [title; 2].into()
    }
}

impl From<String> for Title {
    /// A name from the data, or a title in the only language that is written.
    fn from(title: String) -> Self {
        let fr: Cow<'static, str> = title.into();
        let en = fr.clone();
        Self { fr, en }
    }
}

/// The alignment of the cells of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Left, for text.
    Left,
    /// Right, for numbers.
    Right,
}

/// Makes the value of a cell.
type Cell<'r, R> = Box<dyn Fn(&R) -> Value<'r> + 'r>;
/// Returns the class in the style sheet that colours a cell.
type Shade<'r, R> = Box<dyn Fn(&R) -> &'static str + 'r>;

/// A column of a table with rows of type `R`; its closures may borrow data for `'r`.
pub struct Column<'r, R> {
    name: &'static str,
    title: Title,
    align: Align,
    cell: Cell<'r, R>,
    shade: Option<Shade<'r, R>>,
    /// The part of the text that has the column, from 0; `None` for every part.
    part: Option<usize>,
    /// The differences in each form, by the number of the form.
    own: [Own<'r, R>; Form::COUNT],
}

/// The differences of a column in one form.
struct Own<'r, R> {
    hidden: bool,
    title: Option<Title>,
    align: Option<Align>,
    place: Option<usize>,
    cell: Option<Cell<'r, R>>,
}

impl<R> Default for Own<'_, R> {
    fn default() -> Self {
        Self {
            hidden: false,
            title: None,
            align: None,
            place: None,
            cell: None,
        }
    }
}

/// Columns by the type of their values.
impl<'r, R> Column<'r, R> {
    /// A column with the name `name` in a file.
    pub fn new(
        name: &'static str,
        title: impl Into<Title>,
        align: Align,
        cell: impl Fn(&R) -> Value<'r> + 'r,
    ) -> Self {
        Self {
            name,
            title: title.into(),
            align,
            cell: Box::new(cell),
            shade: None,
            part: Some(0),
            own: std::array::from_fn(|_| Own::default()),
        }
    }

    /// Names from the data.
    pub fn name<T: Into<Cow<'r, str>>>(
        name: &'static str,
        title: impl Into<Title>,
        cell: impl Fn(&R) -> T + 'r,
    ) -> Self {
        Self::new(name, title, Align::Left, move |row| {
            Value::Name(cell(row).into())
        })
    }

    /// Months, `2024-03`.
    pub fn month<T: Into<Cow<'r, str>>>(
        name: &'static str,
        title: impl Into<Title>,
        cell: impl Fn(&R) -> T + 'r,
    ) -> Self {
        Self::new(name, title, Align::Left, move |row| {
            Value::Month(cell(row).into())
        })
    }

    /// Counts; blank where the row has none.
    pub fn count<T: Into<Option<u64>>>(
        name: &'static str,
        title: impl Into<Title>,
        cell: impl Fn(&R) -> T + 'r,
    ) -> Self {
        Self::new(name, title, Align::Right, move |row| {
            cell(row).into().map_or(Value::Blank, Value::Count)
        })
    }

    /// Small whole numbers, such as ranks.
    pub fn integer(
        name: &'static str,
        title: impl Into<Title>,
        cell: impl Fn(&R) -> u64 + 'r,
    ) -> Self {
        Self::new(name, title, Align::Right, move |row| {
            Value::Integer(cell(row))
        })
    }

    /// Amounts in euros.
    pub fn euros<T: Into<Option<Euros>>>(
        name: &'static str,
        title: impl Into<Title>,
        cell: impl Fn(&R) -> T + 'r,
    ) -> Self {
        Self::new(name, title, Align::Right, move |row| {
            Value::Euros(cell(row).into())
        })
    }

    /// Shares in percent.
    pub fn percent<T: Into<Option<Percent>>>(
        name: &'static str,
        title: impl Into<Title>,
        cell: impl Fn(&R) -> T + 'r,
    ) -> Self {
        Self::new(name, title, Align::Right, move |row| {
            Value::Percent(cell(row).into())
        })
    }

    /// Changes in percent, shown with their sign.
    pub fn change<T: Into<Option<Percent>>>(
        name: &'static str,
        title: impl Into<Title>,
        cell: impl Fn(&R) -> T + 'r,
    ) -> Self {
        Self::new(name, title, Align::Right, move |row| {
            Value::Change(cell(row).into())
        })
    }

    /// Numbers with two decimals.
    pub fn number<T: Into<Option<Fixed<2>>>>(
        name: &'static str,
        title: impl Into<Title>,
        cell: impl Fn(&R) -> T + 'r,
    ) -> Self {
        Self::new(name, title, Align::Right, move |row| {
            Value::Number(cell(row).into())
        })
    }

    /// Numbers with four decimals.
    pub fn coefficient<T: Into<Option<Fixed<4>>>>(
        name: &'static str,
        title: impl Into<Title>,
        cell: impl Fn(&R) -> T + 'r,
    ) -> Self {
        Self::new(name, title, Align::Right, move |row| {
            Value::Coefficient(cell(row).into())
        })
    }

    /// Yes or no.
    pub fn flag(
        name: &'static str,
        title: impl Into<Title>,
        cell: impl Fn(&R) -> bool + 'r,
    ) -> Self {
        Self::new(name, title, Align::Left, move |row| Value::Flag(cell(row)))
    }
}

/// Differences between the forms.
impl<'r, R> Column<'r, R> {
    /// Shows the column in this form only.
    #[must_use]
    pub fn only(mut self, form: Form) -> Self {
        for (place, own) in self.own.iter_mut().enumerate() {
            own.hidden = place != form as usize;
        }
        self
    }

    /// Hides the column in this form.
    #[must_use]
    pub fn except(mut self, form: Form) -> Self {
        self.own[form as usize].hidden = true;
        self
    }

    /// Sets another title in this form.
    #[must_use]
    pub fn titled(mut self, form: Form, title: impl Into<Title>) -> Self {
        self.own[form as usize].title = Some(title.into());
        self
    }

    /// Aligns the column left in this form.
    #[must_use]
    pub fn left(mut self, form: Form) -> Self {
        self.own[form as usize].align = Some(Align::Left);
        self
    }

    /// Moves the column to this position in this form, from 0, before the column that is there.
    #[must_use]
    pub fn at(mut self, form: Form, place: usize) -> Self {
        self.own[form as usize].place = Some(place);
        self
    }

    /// Sets other cells in this form.
    #[must_use]
    pub fn cell(mut self, form: Form, cell: impl Fn(&R) -> Value<'r> + 'r) -> Self {
        self.own[form as usize].cell = Some(Box::new(cell));
        self
    }

    /// Puts the column into this part of the text, from 0. A table that is wider than the text is written in parts, one below
    /// the other.
    #[must_use]
    pub fn part(mut self, part: usize) -> Self {
        self.part = Some(part);
        self
    }

    /// Repeats the column in every part of the text.
    #[must_use]
    pub fn in_every_part(mut self) -> Self {
        self.part = None;
        self
    }

    /// Colours the cells on the page by a class of its style sheet.
    #[must_use]
    pub fn shaded(mut self, shade: impl Fn(&R) -> &'static str + 'r) -> Self {
        self.shade = Some(Box::new(shade));
        self
    }

    /// The same column for a table whose rows have an `R`.
    #[must_use]
    pub fn of<S>(self, has: impl Fn(&S) -> R + Copy + 'r) -> Column<'r, S>
    where
        R: 'r,
    {
        self.of_some(move |row| Some(has(row)))
    }

    /// The same column for a table whose rows may have an `R`; blank where a row has none.
    #[must_use]
    pub fn of_some<S>(self, has: impl Fn(&S) -> Option<R> + Copy + 'r) -> Column<'r, S>
    where
        R: 'r,
    {
        let lift = move |cell: Cell<'r, R>| -> Cell<'r, S> {
            Box::new(move |row| has(row).map_or(Value::Blank, |part| cell(&part)))
        };
        Column {
            name: self.name,
            title: self.title,
            align: self.align,
            cell: lift(self.cell),
            shade: self.shade.map(|shade| -> Shade<'r, S> {
                Box::new(move |row| has(row).map_or("", |part| shade(&part)))
            }),
            part: self.part,
            own: self.own.map(|own| Own {
                hidden: own.hidden,
                title: own.title,
                align: own.align,
                place: own.place,
                cell: own.cell.map(lift),
            }),
        }
    }
}

/// The properties of the column in a form.
impl<'r, R> Column<'r, R> {
    /// The name of the column in a file.
    pub fn name_in_file(&self) -> &'static str {
        self.name
    }

    /// Whether the form has the column.
    pub fn is_in(&self, form: Form) -> bool {
        !self.own[form as usize].hidden
    }

    /// The position of the column in the form, from 0, if it was moved.
    pub fn place(&self, form: Form) -> Option<usize> {
        self.own[form as usize].place
    }

    /// The title in a form.
    pub fn title(&self, form: Form, lang: Lang) -> &str {
        let own = self.own[form as usize].title.as_ref();
        own.unwrap_or(&self.title).say(lang)
    }

    /// The alignment of the cells in a form.
    pub fn align(&self, form: Form) -> Align {
        self.own[form as usize].align.unwrap_or(self.align)
    }

    /// The cell of this row.
    pub fn value(&self, form: Form, row: &R) -> Value<'r> {
        match &self.own[form as usize].cell {
            Some(cell) => cell(row),
            None => (self.cell)(row),
        }
    }

    /// The class in the style sheet that colours the cell of this row; empty for none.
    pub fn shade(&self, row: &R) -> &'static str {
        self.shade.as_ref().map_or("", |shade| shade(row))
    }

    /// Whether this part of the text has the column.
    pub fn is_in_part(&self, part: usize) -> bool {
        self.part.is_none_or(|own| own == part)
    }

    /// The last part of the text that has the column.
    pub fn last_part(&self) -> usize {
        self.part.unwrap_or_default()
    }
}
