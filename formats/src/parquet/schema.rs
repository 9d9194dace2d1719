//! The columns of a Parquet file, by what they hold.

use arrow_schema::{DataType, Schema};
use parquet::arrow::parquet_to_arrow_schema;
use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::file::metadata::FileMetaData;
use parquet::schema::types::{ColumnDescriptor, Type};

use crate::dtype::Dtype;
use crate::tabular::{Column, Kind};

/// The columns at the top, each with the first of its leaves.
pub(super) fn columns(footer: &FileMetaData) -> Vec<(Column, usize)> {
    let descr = footer.schema_descr();
    // The widths of fixed-size lists are told by the Arrow schema alone. What it cannot tell is measured.
    let arrow = parquet_to_arrow_schema(descr, footer.key_value_metadata()).ok();
    let mut first = 0;
    let mut columns = Vec::new();
    for (index, root) in descr.root_schema().get_fields().iter().enumerate() {
        let leaves = (first..descr.num_columns()).take_while(|leaf| descr.get_column_root_idx(*leaf) == index).count();
        let kind = match leaves {
            1 => kind(root, &descr.column(first), arrow.as_ref()),
            _ => Kind::Other("group".into()),
        };
        columns.push((Column { name: root.name().into(), kind }, first));
        first += leaves;
    }
    columns
}

fn kind(root: &Type, leaf: &ColumnDescriptor, arrow: Option<&Schema>) -> Kind {
    let Some(dtype) = float(leaf) else { return Kind::Other(type_name(root, leaf)) };
    let info = root.get_basic_info();
    let is_list = info.logical_type_ref() == Some(&LogicalType::List) || info.converted_type() == ConvertedType::LIST;
    match leaf.max_rep_level() {
        0 if root.is_primitive() => Kind::Float(dtype),
        1 if root.is_primitive() || is_list => {
            let field = arrow.and_then(|schema| schema.field_with_name(root.name()).ok());
            let width = match field.map(arrow_schema::Field::data_type) {
                Some(DataType::FixedSizeList(_, width)) => u64::try_from(*width).ok(),
                _ => None,
            };
            Kind::List(dtype, width)
        }
        _ => Kind::Other(type_name(root, leaf)),
    }
}

fn float(leaf: &ColumnDescriptor) -> Option<Dtype> {
    match leaf.physical_type() {
        Physical::FLOAT => Some(Dtype::Float32),
        Physical::DOUBLE => Some(Dtype::Float64),
        Physical::FIXED_LEN_BYTE_ARRAY => (leaf.type_length() == 2
            && leaf.logical_type_ref() == Some(&LogicalType::Float16))
        .then_some(Dtype::Float16),
        _ => None,
    }
}

fn type_name(root: &Type, leaf: &ColumnDescriptor) -> String {
    let element = match (leaf.converted_type(), leaf.physical_type()) {
        (ConvertedType::UTF8, _) => "string".into(),
        (ConvertedType::NONE, physical) => physical.to_string().to_lowercase(),
        (converted, _) => converted.to_string().to_lowercase(),
    };
    match leaf.max_rep_level() {
        0 if root.is_primitive() => element,
        0 => format!("group of {element}"),
        depth => format!("{}{element}", "list of ".repeat(usize::try_from(depth).unwrap_or(1))),
    }
}
