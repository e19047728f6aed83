"""Settings of the server, from options or from the environment."""

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from meninx._errors import OptionError

MIB = 1024**2


class Settings(BaseSettings):
    """Settings of the server; each may be set as MENINX_WEB_NAME in the environment.

    Args:
        data: Folder of the database and the uploaded studies.
        database: SQLAlchemy address of the database; empty for SQLite inside `data`.
        secure_cookies: Whether cookies are sent over TLS only; to be set behind a proxy with TLS.
        session_hours: Time without a click after which a session ends, hours.
        lockout_attempts: Wrong passwords in a row that lock an account.
        lockout_minutes: Time that an account is locked, minutes.
        upload_bytes: Largest upload, bytes.
        worker_bytes: Memory limit of the process that decodes and scores a study, bytes.
        worker_seconds: Time limit of that process for a study, seconds.
        retention_days: Time after which studies are deleted, days; 0 for never.
        deidentify: Whether identity, names of files and UIDs are dropped on arrival.
        attempts_per_minute: Limit of attempts in a minute to sign in to one account from one
            address, and of wrong keys from one address.
        oidc_issuer: Address of an OpenID Connect provider; empty for none.
        oidc_client: Client id at the provider.
        oidc_secret: Client secret at the provider.
        peers: Systems that results can be sent to, with commas between them: TITLE@host:port, or
            http(s)://... of a DICOMweb service.
        title: Our own application entity title.
        model: Detector file; None for the shipped one.
    """

    model_config = SettingsConfigDict(env_prefix="MENINX_WEB_", protected_namespaces=())

    data: Path = Field(default=Path("meninx-data"), validate_default=True)
    database: str = ""
    secure_cookies: bool = False
    session_hours: float = 8.0
    lockout_attempts: int = 5
    lockout_minutes: float = 15.0
    upload_bytes: int = 4096 * MIB
    worker_bytes: int = 4096 * MIB
    worker_seconds: int = 300
    retention_days: int = 0
    deidentify: bool = False
    attempts_per_minute: int = 30
    oidc_issuer: str = ""
    oidc_client: str = ""
    oidc_secret: str = ""
    peers: str = ""
    title: str = "MENINX"
    model: Path | None = None

    @field_validator("data")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        # Reports refer to pictures by file addresses, which need an absolute path.
        return folder.absolute()

    @property
    def address(self) -> str:
        """The database's address."""
        return self.database or f"sqlite:///{self.data / 'meninx.sqlite'}"

    @property
    def peer_addresses(self) -> list[str]:
        """Addresses of the systems that results can be sent to, as they were given."""
        return [address.strip() for address in self.peers.split(",") if address.strip()]

    @property
    def key_file(self) -> Path:
        """File of the secret that signs opinions."""
        return self.data / "signing.key"

    def existing_key(self) -> bytes:
        """Read the secret that signs opinions.

        Returns:
            Secret of 32 bytes.

        Raises:
            OptionError: If there is no key file.
        """
        if not self.key_file.is_file():
            raise OptionError(
                f"no key at {self.key_file}, which opinions are checked with; give the server's "
                "data folder by --data, or restore the key from a backup"
            )
        return self.key_file.read_bytes()

    @property
    def studies(self) -> Path:
        """Folder of the studies' files, one subfolder with a random name a study."""
        return self.data / "studies"

    @property
    def uploads(self) -> Path:
        """Folder of unfinished uploads."""
        return self.data / "uploads"
