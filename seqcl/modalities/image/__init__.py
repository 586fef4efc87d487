"""The image modality: folders of image files, arrays, packed JPEGs and stores, any channels."""
