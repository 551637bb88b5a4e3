//! The best models of each city: of sales, of rentals and of both.

use std::io;

use autoconnect_report::table::Form::Text;
use autoconnect_report::table::column::Column;
use autoconnect_report::table::{Table, csv};

use super::ville;
use crate::sales::Report;
use crate::sales::report::{Top, TopModele};

pub(in crate::sales::render) const FILE: &str = "top_modeles.csv";

/// A list of models.
struct List {
    /// As data.
    word: &'static str,
    /// In the text.
    title: &'static str,
    of: for<'r> fn(&'r Top) -> &'r [TopModele],
}

static LISTS: [List; 3] = [
    List {
        word: "vente",
        title: "Ventes",
        of: |top| &top.vente,
    },
    List {
        word: "location",
        title: "Locations",
        of: |top| &top.location,
    },
    List {
        word: "total",
        title: "Ensemble",
        of: |top| &top.total,
    },
];

/// What is said of a model. In the text it stands below the title of its list.
fn columns<'r>(list: &'static str) -> [Column<'r, &'r TopModele>; 3] {
    [
        Column::name("modele", ["Modèle", "Model"], |top: &&'r TopModele| {
            &top.modele
        })
        .titled(Text, list),
        Column::count("nombre", ["Nombre", "Number"], |top: &&'r TopModele| {
            top.nombre
        })
        .titled(Text, "")
        .left(Text),
        Column::euros("ca", ["CA", "Revenue"], |top: &&'r TopModele| top.ca).except(Text),
    ]
}

/// One list of a city.
pub(in crate::sales::render) fn table<'r>() -> Table<'r, &'r TopModele> {
    Table::new(FILE, columns(""))
}

/// The models of a city that have the same rank, counted from 0, in each list.
#[derive(Debug, Clone, Copy)]
pub(in crate::sales::render) struct Line<'r> {
    top: &'r Top,
    rang: usize,
}

/// The lists of a city side by side.
pub(in crate::sales::render) fn side_by_side<'r>() -> Table<'r, Line<'r>> {
    let rang = Column::name("rang", "  ", |line: &Line<'r>| {
        format!("{}.", line.rang + 1)
    });
    let lists = LISTS.iter().flat_map(|list| {
        let columns = columns(list.title);
        columns
            .map(|column| column.of_some(move |line: &Line<'r>| (list.of)(line.top).get(line.rang)))
    });
    Table::new(FILE, [rang]).and(lists)
}

/// The lines of a city.
pub(in crate::sales::render) fn lines(top: &Top) -> impl Iterator<Item = Line<'_>> {
    (0..top.total.len()).map(move |rang| Line { top, rang })
}

/// A model in a list.
#[derive(Debug, Clone, Copy)]
struct Row<'r> {
    ville: &'r str,
    list: &'static str,
    rang: u64,
    modele: &'r TopModele,
}

pub(super) fn write(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let table = Table::new(
        FILE,
        [
            ville(|row: &Row<'_>| row.ville),
            Column::name("type", "Type", |row: &Row<'_>| row.list),
            Column::integer("rang", ["Rang", "Rank"], |row: &Row<'_>| row.rang),
        ],
    )
    .and(columns("").map(|column| column.of(|row: &Row<'_>| row.modele)));
    let rows = report.top_modeles.iter().flat_map(|(ville, top)| {
        LISTS.iter().flat_map(move |list| {
            let modeles = (1..).zip((list.of)(top));
            modeles.map(move |(rang, modele)| Row {
                ville,
                list: list.word,
                rang,
                modele,
            })
        })
    });
    csv::write(&table, rows, out)
}
