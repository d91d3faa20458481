"""What is encrypted is readable under its secret, for its purpose and for its owner, and nowhere else."""

import pytest

from cueapi.security.vault import Vault

SECRET, OTHER = "a session secret, long enough for anyone", "another session secret, just as long as it"


def test_a_text_comes_back_for_its_purpose_and_its_owner_and_is_nowhere_in_the_ciphertext() -> None:
    ciphertext = Vault.of(SECRET).encrypt("naïve text", "api key", 7)

    assert Vault.of(SECRET).decrypt(ciphertext, "api key", 7) == "naïve text"
    assert "naïve".encode() not in ciphertext
    assert ciphertext != Vault.of(SECRET).encrypt("naïve text", "api key", 7)


@pytest.mark.parametrize(
    ("secret", "purpose", "owner"),
    [(OTHER, "api key", 7), (SECRET, "webhook secret", 7), (SECRET, "api key", 8), (SECRET, "api key", "cue_7")],
    ids=["another secret", "another column", "another row", "another table"],
)
def test_elsewhere_it_cannot_be_read(secret: str, purpose: str, owner: object) -> None:
    ciphertext = Vault.of(SECRET).encrypt("text", "api key", 7)

    assert Vault.of(secret).decrypt(ciphertext, purpose, owner) is None


def test_what_was_changed_cut_or_made_up_cannot_be_read() -> None:
    vault = Vault.of(SECRET)
    ciphertext = vault.encrypt("text", "api key", 7)
    changed = [
        ciphertext[:place] + bytes([ciphertext[place] ^ 1]) + ciphertext[place + 1 :] for place in (0, 9, 21, -1)
    ]
    cut = [ciphertext[:length] for length in range(len(ciphertext))]

    assert {vault.decrypt(one, "api key", 7) for one in (*changed, *cut, vault.key_id + bytes(60), b"text")} == {None}


def test_sql_can_tell_by_the_first_bytes_which_secret_a_ciphertext_is_of() -> None:
    ours, theirs = Vault.of(SECRET), Vault.of(OTHER)

    assert ours.encrypt("text", "api key", 7).startswith(ours.key_id)
    assert len(ours.key_id) == 8
    assert ours.key_id != theirs.key_id


def test_neither_secret_nor_keys_show() -> None:
    vault = Vault.of(SECRET)
    vault.encrypt("text", "api key", 7)

    assert SECRET not in repr(vault)
    assert "AESGCM" not in repr(vault)
