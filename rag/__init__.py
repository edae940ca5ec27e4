"""Exhibit: answers from documents, images, audio and video in which every statement points at evidence."""
