//! The real all-MiniLM-L6-v2 against sentence-transformers, whose numbers scripts/reference_embeddings.py has left.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use embstore_encoder::{Builtin, Engine, EngineError, LengthSource, Model, ModelError, Pooling, Tokens, batches};

const DIM: usize = 384;

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/minilm");
    assert!(folder.join("model.safetensors").is_file(), "the model is not there: run scripts/fetch_model.sh");
    folder
}

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::open(&folder(), None).unwrap());
static ENGINE: LazyLock<Builtin> = LazyLock::new(|| Builtin::load(&MODEL, 2).unwrap());

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
}

fn texts() -> Vec<String> {
    serde_json::from_slice(&golden("texts.json")).unwrap()
}

/// The payload of the .npy, which is float32 in C order and the end of the file.
fn vectors() -> Vec<Vec<f32>> {
    let file = golden("minilm.npy");
    let payload = &file[file.len() - texts().len() * DIM * 4..];
    let values: Vec<f32> = payload.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
    values.chunks(DIM).map(<[f32]>::to_vec).collect()
}

fn tokens() -> Vec<Tokens> {
    texts().iter().map(|text| MODEL.tokenizer().encode(text).unwrap()).collect()
}

fn encode(batch: &[&Tokens]) -> Vec<Vec<f32>> {
    let mut out = vec![f32::NAN; batch.len() * DIM];
    ENGINE.encode(batch, &mut out).unwrap();
    out.chunks(DIM).map(<[f32]>::to_vec).collect()
}

fn assert_close(got: &[f32], expected: &[f32], what: &str) {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let cosine = product(got, expected) / (product(got, got) * product(expected, expected)).sqrt();
    assert!(cosine >= 0.99999, "{what}: cosine {cosine}");
    let difference = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference <= 1e-6, "{what}: difference {difference}");
}

#[test]
fn the_folder_says_how_long_how_wide_and_how_pooled() {
    assert_eq!(MODEL.dim(), Some(DIM));
    assert_eq!((MODEL.max_tokens(), MODEL.length().source), (256, LengthSource::SentenceTransformers));
    assert_eq!((MODEL.pooling(), MODEL.normalises()), (Pooling::Mean, true));
    assert_eq!(MODEL.hash().len(), 64);
    assert_ne!(MODEL.hash(), Model::open(&folder(), Some(128)).unwrap().hash(), "the length determines the vectors");
}

#[test]
fn tokens_are_those_of_sentence_transformers() {
    let expected: Vec<Vec<u32>> = serde_json::from_slice(&golden("minilm.json")).unwrap();
    for ((tokens, expected), text) in tokens().iter().zip(expected).zip(texts()) {
        assert_eq!(tokens.ids, expected, "{text:?}");
        assert_eq!(tokens.truncated, MODEL.tokenizer().count(&text).unwrap() > 256, "{text:?}");
    }
}

#[test]
fn vectors_are_those_of_sentence_transformers() {
    let tokens = tokens();
    let got = encode(&tokens.iter().collect::<Vec<_>>());
    for ((got, expected), text) in got.iter().zip(vectors()).zip(texts()) {
        assert_close(got, &expected, &text);
    }
}

#[test]
fn a_vector_does_not_depend_on_its_batch() {
    let (tokens, expected) = (tokens(), vectors());
    for (tokens, expected) in tokens.iter().zip(&expected) {
        assert_close(&encode(&[tokens])[0], expected, "alone");
    }
    let lengths: Vec<usize> = tokens.iter().map(|tokens| tokens.ids.len()).collect();
    for batch in batches(&lengths, 512, None) {
        let got = encode(&batch.iter().map(|&index| &tokens[index]).collect::<Vec<_>>());
        for (got, index) in got.iter().zip(batch) {
            assert_close(got, &expected[index], "by length");
        }
    }
    let short: Vec<usize> = (0..tokens.len()).filter(|&index| lengths[index] < 12).collect();
    let many: Vec<usize> = short.into_iter().cycle().take(1000).collect();
    let got = encode(&many.iter().map(|&index| &tokens[index]).collect::<Vec<_>>());
    for (got, index) in got.iter().zip(many) {
        assert_close(got, &expected[index], "one of a thousand");
    }
}

#[test]
fn texts_of_all_positions_encode() {
    let model = Model::open(&folder(), Some(512)).unwrap();
    assert_eq!(model.length().source, LengthSource::Caller);
    let tokens = model.tokenizer().encode(&"all work and no play ".repeat(200)).unwrap();
    assert_eq!((tokens.ids.len(), tokens.truncated), (512, true));
    let length: f32 = encode(&[&tokens])[0].iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-5);
    assert!(matches!(
        Model::open(&folder(), Some(513)),
        Err(ModelError::TooManyTokens { tokens: 513, positions: 512, .. })
    ));
    assert!(matches!(Model::open(&folder(), Some(2)), Err(ModelError::TooFewTokens { special: 2, .. })));
}

#[test]
fn many_callers_share_the_lanes() {
    let (tokens, expected) = (tokens(), vectors());
    std::thread::scope(|scope| {
        for first in 0..5 {
            let (tokens, expected) = (&tokens, &expected);
            scope.spawn(move || {
                for (tokens, expected) in tokens.iter().zip(expected).skip(first).step_by(5) {
                    assert_close(&encode(&[tokens])[0], expected, "five callers on two lanes");
                }
            });
        }
    });
}

#[test]
fn what_cannot_be_encoded_is_said() {
    let tokens = |ids: &[u32]| Tokens { ids: ids.into(), truncated: false };
    let mut out = vec![0.0; DIM];
    let mut encode = |tokens: &Tokens| ENGINE.encode(&[tokens], &mut out).unwrap_err();
    assert!(matches!(encode(&tokens(&[])), EngineError::Tokens { text: 0, tokens: 0, most: 512 }));
    assert!(matches!(encode(&tokens(&[101; 513])), EngineError::Tokens { tokens: 513, .. }));
    assert!(matches!(encode(&tokens(&[101, 30522])), EngineError::Vocabulary { id: 30522, vocabulary: 30522, .. }));
    let error = ENGINE.encode(&[&tokens(&[101])], &mut [0.0; 3]).unwrap_err();
    assert!(matches!(error, EngineError::Output { expected: 384, got: 3 }));
    ENGINE.encode(&[], &mut []).unwrap();
}

#[test]
fn the_beginning_of_a_long_text_has_the_tokens_of_the_whole() {
    let plain = {
        let mut plain = tokenizers::Tokenizer::from_file(folder().join("tokenizer.json")).unwrap();
        plain.with_truncation(None).unwrap().with_padding(None);
        plain
    };
    let pieces = [
        "word ",
        "Ünï\u{301}cödé ",
        "\u{301}",
        "e\u{301}",
        "中文",
        "日",
        "。",
        ". ",
        ".",
        "\u{301}.",
        "[",
        "]",
        "[SEP]",
        "CLS",
        "\n",
        "\t",
        "\u{a0}",
        "\u{2003}",
        "\u{200b}",
        "\0",
        "🙂",
        "-",
        "'s",
        "한국어",
        "ab",
        "123",
        "豈",
        "\u{3000}",
        "、",
        "supercalifragilistic",
    ];
    let mut state = 1u32;
    let mut next = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state as usize / 65536 % below
    };
    for round in 0..60 {
        // Some rounds without white space, some with few kinds of pieces.
        let kinds = 1 + next(pieces.len());
        let text: String = (0..6000).map(|_| pieces[(round + next(kinds)) % pieces.len()]).collect();
        let whole = plain.encode_fast(text.as_str(), false).unwrap();
        let tokens = MODEL.tokenizer().encode(&text).unwrap();
        let room = whole.len().min(254);
        assert_eq!(tokens.ids[1..=room], whole.get_ids()[..room], "round {round}");
        assert_eq!(tokens.ids.len(), room + 2);
        assert_eq!(tokens.truncated, whole.len() > 254, "round {round}");
    }
}

#[test]
fn a_text_of_megabytes_has_the_tokens_of_its_beginning() {
    let text = "all work and no play makes a dull text. ".repeat(1_000_000);
    let whole = MODEL.tokenizer().encode(&text).unwrap();
    assert!(whole.truncated);
    assert_eq!(whole, MODEL.tokenizer().encode(&text[..20_000]).unwrap());
}
