"""Contracts that every implementation of a protocol meets; test modules inherit them."""
