//! How published files are laid out, read back from their footers.

use std::sync::Arc;

use events::table::{AD_REQUESTS, IMPS, Table};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use super::fixture::{FUTURE_MS, manifest, publish_all, put_staged, read};
use crate::hour::Hour;

async fn lake() -> (Arc<InMemory>, Hour) {
    let store = Arc::new(InMemory::new());
    let hour = Hour::of(FUTURE_MS).unwrap();
    for batch in 0..3_u32 {
        let events = (0..1000).map(|number| (batch * 1000 + number, FUTURE_MS + i64::from(number * 7919 % 1000)));
        put_staged(&store, &batch.to_string(), events).await;
        publish_all(store.clone(), FUTURE_MS).await;
    }
    // The last pass rewrites the hour's files into one.
    publish_all(store.clone(), hour.end_ms() + crate::publish::CLOSE_GRACE_MS).await;
    (store, hour)
}

async fn footer(store: &InMemory, table: &Table, hour: Hour) -> ParquetMetaData {
    let [key] = manifest(store, table, hour).await.try_into().unwrap();
    let bytes = store.get(&Path::from(key)).await.unwrap().bytes().await.unwrap();
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    reader.parse_and_finish(&bytes).unwrap()
}

#[tokio::test]
async fn columns_are_compressed_encoded_and_indexed_by_what_they_hold() {
    let (store, hour) = lake().await;
    for table in [&AD_REQUESTS, &IMPS] {
        let metadata = footer(&store, table, hour).await;
        assert_eq!((metadata.num_row_groups(), metadata.file_metadata().num_rows()), (1, 3000));
        assert!(metadata.offset_index().is_some() && metadata.column_index().is_some());
        let group = metadata.row_group(0);
        let sorted_by: Vec<&str> = group
            .sorting_columns()
            .unwrap()
            .iter()
            .map(|sorting| table.columns[usize::try_from(sorting.column_idx).unwrap()].name)
            .collect();
        assert_eq!(sorted_by, table.sort);
        for column in group.columns() {
            let name = column.column_path().string();
            assert!(matches!(column.compression(), Compression::ZSTD(_)), "{name}");
            let encodings: Vec<Encoding> = column.encodings().collect();
            let expect = match name.as_str() {
                "event_id" | "auction_id" | "source_tid" | "body" => Encoding::DELTA_LENGTH_BYTE_ARRAY,
                _ if name.ends_with("_ts") => Encoding::DELTA_BINARY_PACKED,
                "handler_us" | "body_bytes" | "tmax_ms" => Encoding::DELTA_BINARY_PACKED,
                "test" | "screen_known" | "regs_gpc" => Encoding::PLAIN,
                _ => Encoding::RLE_DICTIONARY,
            };
            assert!(encodings.contains(&expect), "{name}: {encodings:?}");
            assert_eq!(column.bloom_filter_offset().is_some(), name == "event_id", "{name}");
            assert_eq!(column.statistics().is_some(), name != "body", "{name}");
        }
    }
}

#[tokio::test]
async fn rows_are_sorted_by_ad_unit_and_time() {
    let (store, hour) = lake().await;
    let rows = read(&store, &AD_REQUESTS, hour).await;
    // The fixture's ad unit is the number modulo five, and none for zero: absent comes first.
    let order: Vec<(u32, i64)> = rows.iter().map(|(number, time)| (number % 5, *time)).collect();
    assert!(order.is_sorted(), "{:?}", &order[..20]);
    assert_eq!(order.len(), 3000);
}
