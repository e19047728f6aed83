"""Hold the server's settings, from options or from the environment."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from meninx.errors import OptionError

MIB = 1024**2


class Settings(BaseSettings):
    """Say how the server runs. Each may be set as MENINX_WEB_NAME in the environment.

    Args:
        data: Folder of the database, the queue and the uploaded studies.
        database: SQLAlchemy address; empty for SQLite inside `data`.
        redis: Address of a Redis server that holds the queue; empty for SQLite inside `data`.
        secure_cookies: Whether cookies go over TLS alone; to be set behind a proxy with TLS.
        session_hours: After so long without a click one signs in again.
        lockout_attempts: Wrong passwords in a row that lock an account.
        lockout_minutes: For how long.
        upload_bytes: Largest upload.
        worker_bytes: Memory of the process that decodes and scores one study.
        worker_seconds: Time of that process.
        retention_days: Studies are deleted after so many days; 0 keeps them.
        anonymise: Whether identity, names of files and UIDs are dropped on arrival.
        attempts_per_minute: To sign in to one account from one address, or with wrong keys from one
            address.
        oidc_issuer: Address of an OpenID Connect provider; empty for none.
        oidc_client: Our name there.
        oidc_secret: Our secret there.
        model: A detector file; none for the one that ships.
    """

    model_config = SettingsConfigDict(env_prefix="MENINX_WEB_", protected_namespaces=())

    data: Path = Path("meninx-data")
    database: str = ""
    redis: str = ""
    secure_cookies: bool = False
    session_hours: float = 8.0
    lockout_attempts: int = 5
    lockout_minutes: float = 15.0
    upload_bytes: int = 4096 * MIB
    worker_bytes: int = 4096 * MIB
    worker_seconds: int = 300
    retention_days: int = 0
    anonymise: bool = False
    attempts_per_minute: int = 30
    oidc_issuer: str = ""
    oidc_client: str = ""
    oidc_secret: str = ""
    model: Path | None = None

    @property
    def address(self) -> str:
        """The database's address."""
        return self.database or f"sqlite:///{self.data.resolve() / 'meninx.sqlite'}"

    @property
    def key_file(self) -> Path:
        """The secret that signs opinions."""
        return self.data / "signing.key"

    def existing_key(self) -> bytes:
        """Read the secret that signs opinions.

        Returns:
            Its bytes.

        Raises:
            OptionError: If there is none.
        """
        if not self.key_file.is_file():
            raise OptionError(f"no key at {self.key_file}; opinions can't be checked without it")
        return self.key_file.read_bytes()

    @property
    def studies(self) -> Path:
        """The folder of uploaded pixels, one random name a study."""
        return self.data / "studies"

    @property
    def uploads(self) -> Path:
        """The folder of uploads that are not whole yet."""
        return self.data / "uploads"
