//! A `sales` chunk: some transactions of one city, as an Apache Arrow IPC stream of one record batch.
//!
//! | column | type | |
//! |---|---|---|
//! | `date` | `Date32` | days since 1970-01-01 |
//! | `type` | `Dictionary<Int8, Utf8>` | `vente`, `location` |
//! | `modele` | `Dictionary<Int16, Utf8>`, or `Int32` where a chunk has more models | in order of first appearance |
//! | `prix_centimes` | `UInt32` | the price, or the monthly rent |
//! | `duree_location_mois` | `UInt8` | 0 for a sale |
//! | an optional column, as `cout_centimes` | `UInt32`, may be null | only where a row of the chunk has an amount |
//!
//! The schema's metadata holds `job`, `kind`, `seq`, `ville` and `schema`, so that a chunk on disk explains itself to
//! Python, R or Java without our code.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::{ArrowDictionaryKeyType, Int8Type, Int16Type, Int32Type};
use arrow_array::{
    Array, ArrayRef, Date32Array, DictionaryArray, PrimitiveArray, RecordBatch, StringArray,
    UInt8Array, UInt32Array,
};
use arrow_buffer::{ArrowNativeType, Buffer};
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use autoconnect_common::chunk::MAX_BODY;
use autoconnect_common::text::harmless;
use autoconnect_common::{JobKind as _, Seq};
use bytes::Bytes;
use chrono::NaiveDate;

use autoconnect_report::fixed::Fixed;

use super::Sales;
use super::columns::{
    Amounts, Column, Description, NO_AMOUNT, OPTIONAL, REQUIRED, ROW_BYTES, optional_columns,
};

/// The words of column `type`, by dictionary key.
const TYPES: [&str; 2] = ["vente", "location"];
/// More models than this in one chunk need `Int32` keys.
const MAX_INT16_MODELS: usize = 1 << 15;

/// One transaction, as narrow as the rules of the reader allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ligne {
    /// Days since 1970-01-01.
    pub jour: i32,
    /// Price or monthly rent, in cents.
    pub prix: u32,
    /// The amounts of optional columns, in cents.
    pub amounts: Amounts,
    /// The index of the model, in the holder's list.
    pub modele: u16,
    /// Months of rental; 0 for a sale.
    pub duree: u8,
}

/// Bytes that the names of a chunk's models may take, with 4 each for where they end: a quarter of the body's cap.
pub const MAX_NAMES: usize = MAX_BODY / 4;

/// The most rows of a chunk, even if more are requested: as many as the rest of the body's cap holds, rounded down to two
/// thousand. The remainder is for the schema, its metadata and the padding of columns.
pub const MAX_ROWS: usize = (MAX_BODY - MAX_NAMES) / ROW_BYTES / 2_000 * 2_000;

/// The names of a chunk, for its metadata.
pub struct Label<'a> {
    /// The job's id.
    pub job: &'a str,
    /// The chunk's number.
    pub seq: Seq,
    /// The city's key.
    pub ville: &'a str,
}

/// Turns transactions into chunk bodies; keeps its scratch space from chunk to chunk.
#[derive(Default)]
pub struct Encoder {
    /// For each model of the job, its dictionary key in the current chunk, plus one; 0 where it has none yet.
    keys: Vec<u32>,
}

impl Encoder {
    /// The body of a chunk. `modeles` holds the name of every model that occurs in `lignes`.
    ///
    /// # Errors
    /// [`ArrowError`] where Arrow cannot write it; it never should.
    pub fn encode(
        &mut self,
        label: &Label<'_>,
        lignes: &[Ligne],
        modeles: &[Arc<str>],
    ) -> Result<Bytes, ArrowError> {
        let (keys, names) = self.dictionary(lignes, modeles);
        let dates = Date32Array::from_iter_values(lignes.iter().map(|ligne| ligne.jour));
        let types = lignes.iter().map(|ligne| i8::from(ligne.duree > 0));
        let types = PrimitiveArray::<Int8Type>::from_iter_values(types);
        let prix = UInt32Array::from_iter_values(lignes.iter().map(|ligne| ligne.prix));
        let durees = UInt8Array::from_iter_values(lignes.iter().map(|ligne| ligne.duree));
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            (Column::Date.describe().in_chunk, Arc::new(dates)),
            (
                Column::Type.describe().in_chunk,
                Arc::new(DictionaryArray::try_new(
                    types,
                    Arc::new(StringArray::from_iter_values(TYPES)),
                )?),
            ),
            (
                Column::Modele.describe().in_chunk,
                model_column(keys, names)?,
            ),
            (Column::Prix.describe().in_chunk, Arc::new(prix)),
            (Column::Duree.describe().in_chunk, Arc::new(durees)),
        ];
        let always = columns.len();
        for (number, column) in optional_columns().iter().enumerate() {
            let known = |amount: u32| (amount != NO_AMOUNT).then_some(amount);
            let amounts = lignes.iter().map(|ligne| known(ligne.amounts[number]));
            if amounts.clone().any(|amount| amount.is_some()) {
                let amounts: UInt32Array = amounts.collect();
                columns.push((column.in_chunk, Arc::new(amounts)));
            }
        }
        let fields: Vec<Field> = columns
            .iter()
            .enumerate()
            .map(|(number, (name, column))| {
                Field::new(*name, column.data_type().clone(), number >= always)
            })
            .collect();
        let metadata = HashMap::from([
            ("job".to_owned(), label.job.to_owned()),
            ("kind".to_owned(), Sales::NAME.to_owned()),
            ("seq".to_owned(), label.seq.to_string()),
            ("ville".to_owned(), label.ville.to_owned()),
            ("schema".to_owned(), Sales::SCHEMA.to_string()),
        ]);
        let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
        let body = Vec::with_capacity(lignes.len() * 16 + 4096);
        let mut writer = StreamWriter::try_new(body, &schema)?;
        writer.write(&batch)?;
        writer.finish()?;
        Ok(writer.into_inner()?.into())
    }

    /// The dictionary key of each row's model, and the chunk's own list of models in order of first appearance.
    fn dictionary<'m>(
        &mut self,
        lignes: &[Ligne],
        modeles: &'m [Arc<str>],
    ) -> (Vec<u32>, Vec<&'m str>) {
        self.keys.resize(self.keys.len().max(modeles.len()), 0);
        let mut first_seen = Vec::new();
        let keys = lignes
            .iter()
            .map(|ligne| {
                let key = &mut self.keys[usize::from(ligne.modele)];
                if *key == 0 {
                    first_seen.push(ligne.modele);
                    *key = first_seen.len() as u32;
                }
                *key - 1
            })
            .collect();
        let names = first_seen
            .into_iter()
            .map(|modele| {
                self.keys[usize::from(modele)] = 0;
                &*modeles[usize::from(modele)]
            })
            .collect();
        (keys, names)
    }
}

fn model_column(keys: Vec<u32>, names: Vec<&str>) -> Result<ArrayRef, ArrowError> {
    let wide = names.len() > MAX_INT16_MODELS;
    let names = Arc::new(StringArray::from_iter_values(names));
    Ok(if wide {
        let keys =
            PrimitiveArray::<Int32Type>::from_iter_values(keys.into_iter().map(|key| key as i32));
        Arc::new(DictionaryArray::try_new(keys, names)?)
    } else {
        let keys =
            PrimitiveArray::<Int16Type>::from_iter_values(keys.into_iter().map(|key| key as i16));
        Arc::new(DictionaryArray::try_new(keys, names)?)
    })
}

/// A chunk body, read: columns of equal length, every key within its list.
pub struct Colonnes {
    /// Days since 1970-01-01.
    pub dates: Date32Array,
    /// For each row, which of [`Colonnes::modeles`].
    pub modele_keys: Vec<u32>,
    /// The chunk's models.
    pub modeles: StringArray,
    /// Prices or monthly rents, in cents.
    pub prix: UInt32Array,
    /// Months of rental; 0 for a sale.
    pub durees: UInt8Array,
    /// Of each optional column, the amounts in cents, where a row of the chunk has one.
    amounts: [Option<UInt32Array>; OPTIONAL],
}

impl Colonnes {
    /// The amounts of an optional column, where a row of the chunk has one.
    pub fn amounts(&self, column: Column) -> Option<&UInt32Array> {
        let number = (column as usize).checked_sub(REQUIRED)?;
        self.amounts.get(number)?.as_ref()
    }
}

/// Reads a chunk body, without trusting it.
///
/// # Errors
/// One sentence for anything that is not a body as [`Encoder::encode`] writes it.
pub fn decode(body: &Bytes) -> Result<Colonnes, String> {
    let mut bytes = Buffer::from(body.clone());
    let mut decoder = StreamDecoder::new();
    let arrow = |error: ArrowError| format!("arrow stream: {error}");
    let batch = decoder
        .decode(&mut bytes)
        .map_err(arrow)?
        .ok_or("arrow stream: no record batch")?;
    if decoder.decode(&mut bytes).map_err(arrow)?.is_some() {
        return Err("arrow stream: more than one record batch".to_owned());
    }
    decoder.finish().map_err(arrow)?;
    let types: DictionaryArray<Int8Type> = column(&batch, Column::Type)?;
    let durees: UInt8Array = column(&batch, Column::Duree)?;
    agree(&types, &durees)?;
    let (modele_keys, modeles) = models(&batch)?;
    let mut amounts = [const { None }; OPTIONAL];
    for (amounts, Description { in_chunk, .. }) in amounts.iter_mut().zip(optional_columns()) {
        let found = batch.column_by_name(in_chunk);
        let found = found.map(|found| typed::<UInt32Array>(found, in_chunk));
        *amounts = found.transpose()?;
    }
    Ok(Colonnes {
        dates: column(&batch, Column::Date)?,
        modele_keys,
        modeles,
        prix: column(&batch, Column::Prix)?,
        durees,
        amounts,
    })
}

/// The first `rows` transactions of a chunk body as CSV, for a person.
///
/// # Errors
/// As [`decode`].
pub fn show(body: &Bytes, rows: usize) -> Result<String, String> {
    let Colonnes {
        dates,
        modele_keys,
        modeles,
        prix,
        durees,
        amounts,
    } = decode(body)?;
    let written = |error: csv::Error| format!("as CSV: {error}");
    let euros = |centimes: u32| Fixed::<2>(i64::from(centimes)).to_string();
    // a day beyond the calendar is shown as the number that it is
    let day = |days: i32| {
        NaiveDate::from_epoch_days(days).map_or_else(|| days.to_string(), |day| day.to_string())
    };
    let mut table = csv::Writer::from_writer(Vec::new());
    let always = [
        Column::Date,
        Column::Type,
        Column::Modele,
        Column::Prix,
        Column::Duree,
    ];
    let mut header: Vec<&str> = always.map(|column| column.describe().name).into();
    let optional = amounts.iter().zip(optional_columns());
    let optional: Vec<_> = optional
        .filter_map(|(amounts, column)| Some((amounts.as_ref()?, column.name)))
        .collect();
    header.extend(optional.iter().map(|(_, name)| name));
    table.write_record(header).map_err(written)?;
    for (row, &modele) in modele_keys.iter().enumerate().take(rows) {
        let duree = durees.value(row);
        let mut fields = vec![
            day(dates.value(row)),
            TYPES[usize::from(duree > 0)].to_owned(),
            harmless(modeles.value(modele as usize)).into_owned(),
            euros(prix.value(row)),
            duree.to_string(),
        ];
        fields.extend(
            optional
                .iter()
                .map(|(amounts, _)| match amounts.is_valid(row) {
                    true => euros(amounts.value(row)),
                    false => String::new(),
                }),
        );
        table.write_record(fields).map_err(written)?;
    }
    let bytes = table.into_inner().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

fn typed<A: Array + Clone + 'static>(column: &ArrayRef, name: &str) -> Result<A, String> {
    let found = column.as_any().downcast_ref::<A>().cloned();
    found.ok_or_else(|| format!("column {name}: unexpected type {}", column.data_type()))
}

fn column<A: Array + Clone + 'static>(batch: &RecordBatch, column: Column) -> Result<A, String> {
    let name = column.describe().in_chunk;
    let column = batch
        .column_by_name(name)
        .ok_or_else(|| format!("column {name} is missing"))?;
    if column.null_count() > 0 {
        return Err(format!("column {name}: expected no nulls"));
    }
    typed(column, name)
}

/// The type of a row follows from its duration: a chunk in which they differ is invalid.
fn agree(types: &DictionaryArray<Int8Type>, durees: &UInt8Array) -> Result<(), String> {
    let words = typed::<StringArray>(types.values(), "type")?;
    if !words.iter().eq(TYPES.map(Some)) {
        return Err("column type: expected the words vente and location".to_owned());
    }
    let same = types
        .keys()
        .values()
        .iter()
        .zip(durees.values())
        .all(|(&key, &duree)| (key == 1) == (duree > 0));
    if same {
        Ok(())
    } else {
        Err("column type: disagrees with duree_location_mois".to_owned())
    }
}

fn models(batch: &RecordBatch) -> Result<(Vec<u32>, StringArray), String> {
    let column = batch
        .column_by_name("modele")
        .ok_or("column modele is missing")?;
    match column.data_type() {
        DataType::Dictionary(key, _) if **key == DataType::Int16 => {
            keys_and_values::<Int16Type>(column)
        }
        DataType::Dictionary(key, _) if **key == DataType::Int32 => {
            keys_and_values::<Int32Type>(column)
        }
        other => Err(format!("column modele: unexpected type {other}")),
    }
}

fn keys_and_values<K: ArrowDictionaryKeyType>(
    column: &ArrayRef,
) -> Result<(Vec<u32>, StringArray), String> {
    let column = typed::<DictionaryArray<K>>(column, "modele")?;
    let values = typed::<StringArray>(column.values(), "modele")?;
    if column.null_count() > 0 || values.null_count() > 0 {
        return Err("column modele: expected no nulls".to_owned());
    }
    let keys: Vec<u32> = column
        .keys()
        .values()
        .iter()
        .map(|key| key.as_usize() as u32)
        .collect();
    if keys.iter().any(|&key| key as usize >= values.len()) {
        return Err("column modele: a key is outside its dictionary".to_owned());
    }
    Ok((keys, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sales::columns::{COLUMNS, MAX_NAME, only};

    #[test]
    fn a_chunk_shows_its_first_rows_as_csv_that_no_spreadsheet_computes() {
        let ligne = |jour, prix, cout, modele, duree| Ligne {
            jour,
            prix,
            amounts: only(Column::Cout, cout),
            modele,
            duree,
        };
        let lignes = [
            ligne(0, 1_000_050, NO_AMOUNT, 1, 0),
            ligne(19_753, 45_000, 30_000, 0, 12),
            ligne(1, 1, 1, 0, 1),
        ];
        let modeles = [Arc::from("=BMW \"X3\""), Arc::from("Clio")];
        let label = Label {
            job: "sales-0",
            seq: Seq::first_part(0),
            ville: "lyon",
        };
        let mut encoder = Encoder::default();
        let body = encoder.encode(&label, &lignes, &modeles).expect("encoded");
        assert_eq!(
            show(&body, 2).expect("shown"),
            "date,type,modele,prix,duree_location_mois,cout\n\
             1970-01-01,vente,Clio,10000.5,0,\n\
             2024-01-31,location,\"'=BMW \"\"X3\"\"\",450,12,300\n"
        );
        assert!(show(&Bytes::from_static(b"rows"), 2).is_err());
    }

    /// A chunk with the most rows, models and names, in every column.
    fn fullest() -> Bytes {
        // names of three characters or more, each with 4 bytes for where it ends
        let models = (MAX_NAMES / (3 + 4)).min(MAX_ROWS);
        let length = MAX_NAMES / models - 4;
        let letter = |n: usize| char::from(b'!' + (n % 90) as u8);
        let name = |n: usize| {
            let letters = String::from_iter([letter(n), letter(n / 90), letter(n / 8_100)]);
            Arc::from(format!("{letters:~<length$}"))
        };
        let modeles: Vec<Arc<str>> = (0..models).map(name).collect();
        let ligne = |row: usize| Ligne {
            jour: row as i32,
            prix: u32::MAX,
            // one amount is not known, so that each column says which are
            amounts: [if row == 0 { NO_AMOUNT } else { 1 }; OPTIONAL],
            modele: (row % models) as u16,
            duree: 120,
        };
        let lignes: Vec<Ligne> = (0..MAX_ROWS).map(ligne).collect();
        let label = Label {
            job: &"j".repeat(64),
            seq: Seq::first_part(u32::MAX),
            ville: &"v".repeat(MAX_NAME),
        };
        let body = Encoder::default().encode(&label, &lignes, &modeles);
        body.expect("encoded")
    }

    #[test]
    fn the_fullest_chunk_fits_a_message() {
        let body = fullest();
        assert_eq!(MAX_ROWS, 40_000);
        assert!(body.len() <= MAX_BODY, "{} bytes", body.len());
        assert!(body.len() > MAX_BODY * 9 / 10, "{} bytes", body.len());
    }

    #[test]
    fn a_chunk_carries_the_columns_that_are_described_in_no_more_bits() {
        let mut bytes = Buffer::from(fullest());
        let batch = StreamDecoder::new().decode(&mut bytes);
        let batch = batch.expect("a stream").expect("a batch");
        let described = COLUMNS.iter().filter(|column| column.bits > 0);
        let described: Vec<(&str, usize)> = described
            .map(|column| (column.in_chunk, column.bits))
            .collect();
        let bits = |data_type: &DataType| match data_type {
            DataType::Dictionary(key, _) => key.primitive_width().unwrap_or_default() * 8,
            plain => plain.primitive_width().unwrap_or_default() * 8,
        };
        let schema = batch.schema();
        let found = schema.fields().iter();
        let found: Vec<(&str, usize)> = found
            .map(|field| {
                let known = usize::from(field.is_nullable());
                (field.name().as_str(), bits(field.data_type()) + known)
            })
            .collect();
        assert_eq!(found, described);
        let total: usize = found.iter().map(|(_, bits)| bits).sum();
        assert_eq!(ROW_BYTES, total.div_ceil(8));
        assert_eq!(schema.metadata()["schema"], Sales::SCHEMA.to_string());
    }

    /// Chunks of the build before columns were described: workers of both builds read each other's.
    #[test]
    fn a_chunk_has_the_bytes_that_it_always_had() {
        let digest = |costs: [u32; 3]| {
            let ligne = |row: usize| Ligne {
                jour: 19_753 + row as i32,
                prix: 1_000_050,
                amounts: only(Column::Cout, costs[row]),
                modele: (row % 2) as u16,
                duree: row as u8 * 6,
            };
            let lignes: Vec<Ligne> = (0..3).map(ligne).collect();
            let label = Label {
                job: "sales-0",
                seq: Seq::first_part(7),
                ville: "lyon",
            };
            let modeles = [Arc::from("BMW X3"), Arc::from("Clio")];
            let body = Encoder::default().encode(&label, &lignes, &modeles);
            autoconnect_common::Digest::of(&body.expect("encoded")).short(16)
        };
        assert_eq!(digest([NO_AMOUNT; 3]), "345b0f5b48d0c186");
        assert_eq!(digest([NO_AMOUNT, 1, 300_000]), "ed38d4aa655dcb4c");
    }
}
