//! Files that attack, lie or are broken: each ends in the error that says so, and none in a panic.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

mod common;

use common::{data, read};
use embstore_formats::pickle::{ElementType, KeepAll, Pickle, PickleError, scan};
use embstore_formats::{ByteOrder, Dtype};
use serde_json::json;

fn scanned(bytes: &[u8]) -> Result<Pickle, PickleError> {
    scan(&bytes, &mut KeepAll)
}

/// What becomes of a file: the beginning of the error's debug form, or `Ok`.
fn outcome(bytes: &[u8]) -> String {
    scanned(bytes).map_or_else(|error| format!("{error:?}"), |_| "Ok".into())
}

const FILES: [(&str, &str); 36] = [
    ("containers/ck.joblib", "Ok"),
    ("containers/obj.joblib", "JoblibObjects"),
    ("hostile/after_stop_second_pickle.pkl", "Ok"),
    ("hostile/billion_laughs_dup.p4.pkl", "Ok"),
    ("hostile/binbytes8_2p63.p4.pkl", "LengthBeyondEnd { length: 9223372036854775808, left: 3"),
    ("hostile/binbytes_4G.p3.pkl", "LengthBeyondEnd { length: 4294967295, left: 3"),
    ("hostile/binpersid.p2.pkl", "RefusedOpcode { what: \"a persistent id\""),
    ("hostile/binunicode8_huge.p4.pkl", "LengthBeyondEnd"),
    ("hostile/deep_list_1e6.p4.pkl", "TooManyValues { what: \"values on the stack\""),
    ("hostile/dotted_name.p4.pkl", "Truncated"),
    ("hostile/empty.pkl", "Empty"),
    ("hostile/ext1.p2.pkl", "RefusedOpcode { what: \"an extension code\""),
    ("hostile/frame_too_long.p4.pkl", "LengthBeyondEnd"),
    ("hostile/hidden_in_ckpt.p4.pkl", "Refused { global: \"os.system\", offset: 36 }"),
    ("hostile/long4_huge.p2.pkl", "LengthBeyondEnd { length: 2147483647, left: 1"),
    ("hostile/long_binput_4G.p4.pkl", "Ok"),
    ("hostile/memo_indirect_stackglobal.p4.pkl", "Refused { global: \"os.system\""),
    ("hostile/nd_4d.pkl", "Ok"),
    ("hostile/nd_be.pkl", "Ok"),
    ("hostile/nd_native_endian.pkl", "Ok"),
    ("hostile/nd_ok.pkl", "Ok"),
    ("hostile/nd_short_payload.pkl", "LyingArray { fault: \"[2, 3] of float32 needs 24 bytes, there are 20\""),
    ("hostile/nd_zero_times_huge.pkl", "LyingArray { fault: \"a dimension is beyond any file\""),
    ("hostile/newobj_ex.p4.pkl", "Refused { global: \"subprocess.Popen\""),
    ("hostile/next_buffer.p5.pkl", "OutOfBand"),
    ("hostile/obj_os_system.p1.pkl", "Refused { global: \"os.system\""),
    ("hostile/pop_mark_empty.pkl", "NoMark"),
    ("hostile/proto255.pkl", "UnsupportedProtocol { version: 255"),
    ("hostile/proto_only.pkl", "Truncated { offset: 2 }"),
    ("hostile/put_neg.p0.pkl", "BadArgument { what: \"memo number\""),
    ("hostile/recursive_dict.p2.pkl", "Ok"),
    ("hostile/reduce_os_system.p0.pkl", "Refused { global: \"os.system\""),
    ("hostile/setitem_to_list.pkl", "BadTarget { found: \"list\""),
    ("hostile/stack_underflow_reduce.p2.pkl", "Underflow"),
    ("hostile/truncated_before_stop.pkl", "Truncated { offset: 158 }"),
    ("hostile/unhashable_key.pkl", "UnhashableKey { found: \"list\""),
];

#[test]
fn every_hostile_file_has_its_error() {
    for (name, expected) in FILES {
        let got = outcome(&read(name));
        assert!(got.starts_with(expected), "{name}: {got}");
    }
    let files = std::fs::read_dir(data().join("hostile")).unwrap().count();
    assert_eq!(files + 2, FILES.len(), "a file has no row here");
}

/// Attacks of `spec/pickle.md` §4 that have no file.
const BYTES: &[(&[u8], &str)] = &[
    // Calls, by every opcode that makes one, and where the result is thrown away.
    (b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R0N.", "Refused { global: \"os.system\""),
    (b"(S'ls'\nios\nsystem\n.", "Refused { global: \"os.system\""),
    (b"\x80\x02csubprocess\nPopen\n)\x81.", "Refused { global: \"subprocess.Popen\""),
    (
        b"\x80\x02ccopy_reg\n_reconstructor\ncos\nsystem\nc__builtin__\nobject\nN\x87R.",
        "Refused { global: \"os.system\"",
    ),
    (b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.", "Refused { global: \"builtins.eval\""),
    (b"\x80\x02cnumpy\nload\n)R.", "Refused { global: \"numpy.load\""),
    (b"\x80\x02cnumpy\nndarray\n)R.", "Refused { global: \"numpy.ndarray\""),
    // A dotted name is one name, and not an attribute of an allowed one.
    (b"\x80\x04\x8c\x05numpy\x8c\x0bdtype.alter\x93)R.", "Refused { global: \"numpy.dtype.alter\""),
    (b"\x80\x04\x8c\x0bnumpy.dtype\x8c\x00\x93)R.", "Refused { global: \"numpy.dtype.\""),
    (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "Ok"),
    (b"\x80\x04\x8c\x02os\x8c\x07sys\ntem\x93.", "BadArgument { what: \"global name\""),
    (b"\x80\x04C\x02osC\x06system\x93.", "BadArgument { what: \"global name\""),
    // What is called is no name.
    (b"\x80\x02NN\x85R.", "BadCall { global: \"a value of type None\""),
    (b"\x80\x02c_codecs\nencode\n)\x81.", "BadCall { global: \"_codecs.encode\""),
    (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.", "BadCall"),
    (b"\x80\x02cbuiltins\nset\nNR.", "BadCall"),
    (b"\x80\x02Pid\n.", "RefusedOpcode"),
    (b"\x80\x02\x83\x01\x00.", "RefusedOpcode"),
    (b"\x80\x05\x98.", "Underflow"),
    (b"\x80\x06N.", "UnsupportedProtocol { version: 6"),
    // Lengths.
    (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xffabc", "LengthBeyondEnd { length: 18446744073709551615"),
    (b"\x80\x05\x96\x00\x00\x00\x00\x00\x01\x00\x00.", "LengthBeyondEnd"),
    (b"\x80\x02\x8b\xff\xff\xff\xff.", "BadArgument { what: \"integer length\""),
    (b"T\xff\xff\xff\xff.", "BadArgument { what: \"string length\""),
    (b"C\x05abc.", "LengthBeyondEnd { length: 5, left: 4"),
    // Lines.
    (b"Sabc'\n.", "BadArgument { what: \"string\""),
    (b"S'\n.", "BadArgument { what: \"string\""),
    (b"S\n.", "BadArgument { what: \"string\""),
    (b"S'abc", "Truncated { offset: 5 }"),
    (b"S", "Truncated"),
    (b"I1_0\n.", "BadArgument { what: \"integer\""),
    (b"I\n.", "BadArgument { what: \"integer\""),
    (b"L5L\r\n.", "BadArgument { what: \"integer\""),
    (b"Fone\n.", "BadArgument { what: \"float\""),
    (b"Np4294967296\n.", "BadArgument { what: \"memo number\""),
    // Stack, marks, memo.
    (b".", "Underflow"),
    (b"(.", "Underflow"),
    (b"N(.", "Underflow"),
    (b"N(0.", "Ok"),
    (b"(00.", "Underflow"),
    (b"N(\x85.", "Underflow"),
    (b"(t(t\x86.", "Ok"),
    (b"Na.", "Underflow"),
    (b"NNa.", "BadTarget { found: \"None\""),
    (b"](Na.", "Underflow"),
    (b"e.", "NoMark"),
    (b"(e.", "Underflow"),
    (b"}(Ne.", "BadTarget { found: \"dict\""),
    (b"}(Nu.", "OddItems"),
    (b"(Nd.", "OddItems"),
    (b"\x80\x04\x8f(\x8c\x01au.", "BadTarget { found: \"set\""),
    (b"\x80\x04](N\x90.", "BadTarget { found: \"list\""),
    (b"h\x00.", "BadMemo { id: 0"),
    (b"q\x00.", "Underflow"),
    (b"\x80\x04\x94.", "Underflow"),
    (b"Nq\x00j\x01\x00\x00\x00.", "BadMemo { id: 1"),
    (b"Nq\x00K\x07q\x000h\x00.", "Ok"),
    (b"NNb.", "BadTarget { found: \"None\""),
    (b"2.", "Underflow"),
    (b"\xff.", "NotAPickle { byte: 255 }"),
    (b"<!DOCTYPE html>", "NotAPickle { byte: 60 }"),
    (b"N\xff.", "BadOpcode { byte: 255, offset: 1 }"),
];

#[test]
fn every_hostile_byte_string_has_its_error() {
    for (bytes, expected) in BYTES {
        let got = outcome(bytes);
        assert!(got.starts_with(expected), "{}: {got}", bytes.escape_ascii());
    }
}

/// The pickle of an array with this shape, state version, dtype code, byte order and payload.
fn array(version: u8, shape: &[u8], code: &str, order: char, payload: &[u8]) -> Vec<u8> {
    let mut out = b"\x80\x04cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R(K".to_vec();
    out.push(version);
    out.extend(shape);
    out.extend(b"cnumpy\ndtype\n\x8c");
    out.push(code.len() as u8);
    out.extend(code.bytes());
    out.extend(b"\x89\x88\x87R(K\x03\x8c\x01");
    out.push(order as u8);
    out.extend(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89C");
    out.push(payload.len() as u8);
    out.extend(payload);
    out.extend(b"tb.");
    out
}

#[test]
fn an_array_must_not_lie() {
    let two_by_three = b"K\x02K\x03\x86";
    let pickle = scanned(&array(1, two_by_three, "f4", '>', &[0; 24])).unwrap();
    let found = pickle.tree.array(pickle.tree.root()).unwrap();
    assert_eq!(
        (&found.dtype, found.shape.as_slice()),
        (&ElementType::Float(Dtype::Float32, ByteOrder::Big), [2, 3].as_slice())
    );
    for (bytes, expected) in [
        (array(1, two_by_three, "f4", '<', &[0; 28]), "needs 24 bytes, there are 28"),
        (array(1, two_by_three, "f8", '<', &[0; 24]), "needs 48 bytes"),
        (array(9, two_by_three, "f4", '<', &[0; 24]), "another version"),
        (array(1, b"J\xff\xff\xff\xffK\x03\x86", "f4", '<', &[]), "negative"),
        (array(1, b"\x8a\x08\0\0\0\0\0\0\0\x40K\x04\x86", "f4", '<', &[]), "beyond any file"),
        (array(1, b"J\0\0\0\x7fJ\0\0\0\x7fJ\0\0\0\x7f\x87", "f4", '<', &[]), "beyond any file"),
        (array(1, b"\x8c\x01x\x85", "f4", '<', &[]), "beyond any file"),
        (array(1, two_by_three, "f4", '|', &[0; 24]), "no byte order"),
    ] {
        match scanned(&bytes) {
            Err(PickleError::LyingArray { fault, .. }) => assert!(fault.contains(expected), "{fault}"),
            other => panic!("{expected}: {:?}", other.map(|_| ())),
        }
    }
    assert!(outcome(&array(1, two_by_three, "x4", '<', &[0; 24])).starts_with("BadCall { global: \"numpy.dtype\""));
    assert!(outcome(&array(1, two_by_three, "f4", '!', &[0; 24])).starts_with("BadArgument"));
}

#[test]
fn two_arrays_under_one_key_are_refused() {
    let array = array(1, b"K\x01\x85", "f4", '<', &[0; 4]);
    let array = &array[2..array.len() - 1];
    let dict = |entries: &[&[u8]]| [&b"\x80\x04}("[..], &entries.concat(), b"u."].concat();
    let key = b"\x8c\x0aembeddings".as_slice();
    // The same key in another spelling.
    let escaped = b"V\\u0065mbeddings\n".as_slice();
    assert_eq!(outcome(&dict(&[key, array])), "Ok");
    for bytes in [dict(&[key, array, key, array]), dict(&[key, b"N", key, array]), dict(&[key, array, escaped, b"N"])] {
        assert!(outcome(&bytes).starts_with("DuplicateArray { key: \"embeddings\""), "{}", outcome(&bytes));
    }
    let twice = scanned(&dict(&[key, b"K\x01", key, b"K\x02"])).unwrap();
    assert_eq!(twice.tree.to_json(twice.tree.root()), json!({"embeddings": 2}), "the last one counts");
}

#[test]
fn what_follows_the_pickle_is_counted_and_not_read() {
    let pickle = scanned(&read("hostile/after_stop_second_pickle.pkl")).unwrap();
    assert_eq!((pickle.end, pickle.trailing, pickle.protocol), (21, 23, 4));
}

#[test]
fn json_of_a_laughing_or_a_circular_value_is_small() {
    for name in ["hostile/billion_laughs_dup.p4.pkl", "hostile/recursive_dict.p2.pkl"] {
        let pickle = scanned(&read(name)).unwrap();
        let json = pickle.tree.to_json(pickle.tree.root()).to_string();
        assert!(json.len() < 200_000, "{name}: {} bytes", json.len());
    }
    // Keys that hold dicts whose keys hold dicts: quotes within quotes.
    let mut nested = b"\x80\x04".to_vec();
    nested.extend(b"}".repeat(60));
    nested.extend(b"N\x85Ns");
    nested.extend(b"\x85Ns".repeat(58));
    nested.push(b'.');
    let pickle = scanned(&nested).unwrap();
    assert!(pickle.tree.to_json(pickle.tree.root()).to_string().len() < 1000);
}

#[test]
fn hints_name_the_call_that_saves_a_readable_file() {
    let hint = |name: &str| scanned(&read(name)).unwrap_err().hint();
    assert!(hint("containers/pandas_df.p4.pkl").contains("df.to_numpy()"));
    assert!(hint("containers/obj.joblib").contains("joblib.load"));
    assert!(hint("containers/oob.p5.pkl").contains("buffer_callback"));
    assert!(hint("pickle/py311np2/arr_masked.p4.pkl").contains("filled(np.nan)"));
    let torch = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.";
    assert!(scanned(torch).unwrap_err().hint().contains(".cpu().numpy()"));
}

#[test]
fn no_file_is_whole_that_was_cut() {
    for name in [
        "pickle/py311np2/ckpt_meta_all.p0.pkl",
        "pickle/py311np2/ckpt_meta_all.p2.pkl",
        "pickle/py311np2/ckpt_meta_all.p4.pkl",
        "pickle/py311np2/ckpt_meta_all.p5.pkl",
        "pickle/py27np116/ckpt_meta_all.p0.pkl",
        "pickle/py27np116/ckpt_meta_all.p1.pkl",
        "containers/ck.joblib",
    ] {
        let file = read(name);
        for len in 0..file.len() {
            let error = scanned(&file[..len]).map(|_| ()).expect_err(name);
            let expected = match error {
                PickleError::Empty => len == 0,
                PickleError::Truncated { offset } => offset == len as u64,
                PickleError::LengthBeyondEnd { .. } => true,
                _ => false,
            };
            assert!(expected, "{name}, {len} bytes: {error}");
        }
    }
}
