"""Loggers for those who may not reach adapters."""

from shimmy_store.adapters.structlog_logger import log_context, log_with, logger_of

__all__ = ["log_context", "log_with", "logger_of"]
