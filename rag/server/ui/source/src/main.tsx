import { render } from 'preact';
import { App } from './app';
import './style.css';
import { applyTheme, rememberedTheme } from './theme';

applyTheme(rememberedTheme());
render(<App />, document.getElementById('page')!);
