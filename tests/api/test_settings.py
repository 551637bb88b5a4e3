"""What the program that is built without cargo features refuses before it does anything."""

import subprocess

from conftest import clean_environment


def test_a_blob_store_in_s3_is_refused_in_one_sentence_that_names_the_feature(program, data_file, tmp_path):
    environment = clean_environment() | {"AUTOCONNECT_BLOBS__URL": "s3://bucket/prefix"}
    command = [program, "run", data_file, "--out", tmp_path / "out"]
    refused = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2, refused
    [sentence] = refused.stderr.splitlines()
    assert 'blobs.url in AUTOCONNECT_BLOBS__URL: found "s3://bucket/prefix", expected a folder' in sentence
    assert sentence.endswith("built with the cargo feature s3")
    assert not (tmp_path / "out").exists()
